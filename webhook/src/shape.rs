//! How large JSON would be, told without keeping any of it.
//!
//! A list of two million empty lists has 6 MiB as text and 70 as values; so the values are counted first.

use std::fmt;

use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// The length of the shortest JSON that holds as many values in the same order: that with all names and texts left out.
/// Whatever is longer than this in its canonical form, too, is too long.
///
/// Reading it finds what reading the values would find: bad escapes, numbers beyond a double, and nesting too deep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape(pub(crate) usize);

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShapeVisitor).map(Self)
    }
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<usize, E> {
        Ok(if value { "true".len() } else { "false".len() })
    }

    fn visit_i64<E>(self, _: i64) -> Result<usize, E> {
        Ok("-1".len())
    }

    fn visit_u64<E>(self, _: u64) -> Result<usize, E> {
        Ok("0".len())
    }

    fn visit_f64<E>(self, _: f64) -> Result<usize, E> {
        // In its canonical form 1.0 is 1.
        Ok("0".len())
    }

    fn visit_str<E>(self, _: &str) -> Result<usize, E> {
        Ok("\"\"".len())
    }

    fn visit_unit<E>(self) -> Result<usize, E> {
        Ok("null".len())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<usize, A::Error> {
        let mut length = "[".len();
        while let Some(Shape(element)) = elements.next_element()? {
            length += element + ",".len();
        }
        Ok(length.max("[]".len()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<usize, A::Error> {
        let mut length = "{".len();
        while let Some((IgnoredAny, Shape(member))) = members.next_entry()? {
            length += "\"\":".len() + member + ",".len();
        }
        Ok(length.max("{}".len()))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("{}")]
    #[case("[]")]
    #[case("[0,0]")]
    #[case(r#"{"":{"":[]}}"#)]
    #[case(r#"[true,false,null,"",-1,{"":""}]"#)]
    fn json_without_names_and_texts_is_its_own_shape(#[case] text: &str) {
        assert_eq!(serde_json::from_str::<Shape>(text).unwrap(), Shape(text.len()));
    }

    #[test]
    fn names_texts_and_digits_add_nothing() {
        let shape: Shape = serde_json::from_str(r#" { "name" : [ "text", 12345, -1.5e3 ] } "#).unwrap();
        assert_eq!(shape, Shape(r#"{"":["",0,0]}"#.len()));
    }

    #[rstest]
    #[case::b29_deep(&"[".repeat(200_000))]
    #[case::b30_infinite("[1e400]")]
    #[case::b15_surrogate(r#"["\ud800"]"#)]
    #[case::b15_surrogate_in_a_name(r#"{"\ud800":0}"#)]
    #[case::unfinished("[0,")]
    fn what_has_no_values_has_no_shape(#[case] text: &str) {
        assert!(serde_json::from_str::<Shape>(text).is_err());
    }
}
