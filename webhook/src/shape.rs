//! How large JSON would be, told without keeping any of it; and an object's members, without reading it twice.
//!
//! A list of two million empty lists has 6 MiB as text and 70 as values; so the values are counted first.

use std::fmt;

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

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

/// Reads a JSON object in one pass: gives the members of these names as they stand, unread, and reads the others for
/// their shape, which is not kept.
pub(crate) fn pick<'a, const N: usize>(
    text: &'a str,
    names: [&'static str; N],
) -> Result<[Option<&'a RawValue>; N], serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let picked = reader.deserialize_map(Pick(names))?;
    reader.end()?;
    Ok(picked)
}

struct Pick<const N: usize>([&'static str; N]);

impl<'de, const N: usize> Visitor<'de> for Pick<N> {
    type Value = [Option<&'de RawValue>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut picked = [None; N];
        while let Some(NameOf(index)) = members.next_key_seed(Name(&self.0))? {
            let Some((index, name)) = index else {
                members.next_value::<Shape>()?;
                continue;
            };
            if picked[index].is_some() {
                return Err(A::Error::duplicate_field(name));
            }
            picked[index] = Some(members.next_value::<&RawValue>()?);
        }
        Ok(picked)
    }
}

/// Finds a name among these without keeping it.
struct Name<'a>(&'a [&'static str]);

struct NameOf(Option<(usize, &'static str)>);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = NameOf;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<NameOf, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = NameOf;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, text: &str) -> Result<NameOf, E> {
        let mut names = self.0.iter().copied().enumerate();
        Ok(NameOf(names.find(|(_, name)| *name == text)))
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

    #[test]
    fn members_are_picked_as_they_stand_and_the_others_are_read() {
        let picked = pick(r#" {"a": [1.0 ], "b": {"c": 0}, "\u0063": null} "#, ["c", "a", "d"]).unwrap();
        assert_eq!(
            picked.map(|raw| raw.map(RawValue::get)),
            [Some("null"), Some("[1.0 ]"), None]
        );
    }

    #[rstest]
    #[case::twice(r#"{"a": 0, "a": 0}"#, "duplicate field `a`")]
    #[case::b30_infinite_elsewhere(r#"{"b": 1e400}"#, "number out of range")]
    #[case::b14_more(r#"{} {}"#, "trailing characters")]
    #[case::no_object("[]", "expected a JSON object")]
    fn what_cannot_be_read_gives_no_members(#[case] text: &str, #[case] error: &str) {
        let told = pick(text, ["a"]).unwrap_err().to_string();
        assert!(told.contains(error), "{told}");
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
