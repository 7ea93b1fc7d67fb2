//! One copy of each text that many objects have in common.

use std::collections::BTreeSet;
use std::sync::Arc;

/// Below this the texts that nobody has any more are not worth a look.
const FEW: usize = 1_000;

/// The texts that are had by some object, and some that were until lately.
#[derive(Debug, Default)]
pub(super) struct Texts {
    held: BTreeSet<Arc<str>>,
    /// How many were left after the last look for those that nobody has.
    left: usize,
}

impl Texts {
    /// Exchanges a text for the copy that others have.
    pub(super) fn share(&mut self, text: &mut Arc<str>) {
        if let Some(held) = self.held.get(text) {
            Arc::clone_from(text, held);
            return;
        }
        self.held.insert(Arc::clone(text));
        if self.held.len() >= FEW + 2 * self.left {
            self.held.retain(|held| Arc::strong_count(held) > 1);
            self.left = self.held.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_comes_again_is_the_one_that_is_held() {
        let mut texts = Texts::default();
        let mut first: Arc<str> = "a node".into();
        let mut second: Arc<str> = "a node".into();
        texts.share(&mut first);
        texts.share(&mut second);
        assert!(Arc::ptr_eq(&first, &second));
    }

    #[test]
    fn texts_that_nobody_has_any_more_do_not_pile_up() {
        let mut texts = Texts::default();
        let mut kept: Vec<Arc<str>> = (0..2 * FEW).map(|n| n.to_string().into()).collect();
        kept.iter_mut().for_each(|text| texts.share(text));
        for n in 0..20 * FEW {
            texts.share(&mut format!("gone {n}").into());
        }
        assert!(texts.held.len() <= FEW + 2 * kept.len(), "{}", texts.held.len());
        let again = kept.iter_mut().all(|text| {
            let mut copy: Arc<str> = text.to_string().into();
            texts.share(&mut copy);
            Arc::ptr_eq(&copy, text)
        });
        assert!(again);
    }
}
