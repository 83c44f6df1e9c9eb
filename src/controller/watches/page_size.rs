//! How many objects a list is asked for at once: many, and fewer where somebody made them so large that a page would fill
//! the memory.

use std::error::Error;

use super::super::client::PageTooLarge;

/// Objects in one answer to a list.
pub(super) const PAGE: u32 = 500;
/// A page that was too large is asked for again with so many times fewer objects.
const SHRINKS_BY: u32 = 8;

/// Only after so many pages that came are twice as many objects asked for: where each object is so large that two are too
/// many for a page, every try of two is a page in vain.
const GROWS_AFTER: u32 = 4;

/// The size of the next page.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct PageSize {
    objects: u32,
    /// Pages of this size that came, one after the other.
    came: u32,
}

impl PageSize {
    /// As many as usual.
    pub(super) fn usual() -> Self {
        Self::of(PAGE)
    }

    /// What to ask for. A page of one object is never too large.
    pub(super) fn objects(self) -> u32 {
        self.objects
    }

    fn of(objects: u32) -> Self {
        Self { objects, came: 0 }
    }

    /// The page came: what comes next may be smaller.
    pub(super) fn after_a_page(self) -> Self {
        let came = self.came + 1;
        if self.objects == PAGE {
            self
        } else if came < GROWS_AFTER {
            Self { came, ..self }
        } else {
            Self::of(self.objects.saturating_mul(2).min(PAGE))
        }
    }

    /// The size to ask for the same page with; `None` where this is another error.
    pub(super) fn smaller(self, error: &kube::Error) -> Option<Self> {
        (self.objects > 1 && is_too_large(error)).then(|| Self::of((self.objects / SHRINKS_BY).max(1)))
    }
}

fn is_too_large(error: &kube::Error) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<PageTooLarge>() {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_shrinks_while_it_is_too_large_and_grows_after_one_that_came() {
        let too_large = kube::Error::Service(Box::new(PageTooLarge));
        let mut size = PageSize::usual();
        let mut sizes = Vec::new();
        while let Some(smaller) = size.smaller(&too_large) {
            size = smaller;
            sizes.push(size.objects());
        }
        assert_eq!(sizes, [62, 7, 1]);
        sizes.clear();
        while size != PageSize::usual() {
            size = size.after_a_page();
            sizes.push(size.objects());
        }
        sizes.dedup();
        assert_eq!(sizes, [1, 2, 4, 8, 16, 32, 64, 128, 256, 500]);
        assert_eq!(size.after_a_page(), PageSize::usual());
        let other = kube::Error::Service("away".into());
        assert_eq!(size.smaller(&other), None);
    }

    #[test]
    fn a_list_of_objects_that_come_only_one_by_one_asks_for_few_of_them_twice() {
        let too_large = kube::Error::Service(Box::new(PageTooLarge));
        let (mut size, mut came, mut refused) = (PageSize::usual(), 0, 0);
        while came < 1000 {
            size = if let Some(smaller) = size.smaller(&too_large) {
                refused += 1;
                smaller
            } else {
                came += 1;
                size.after_a_page()
            };
        }
        assert!(refused <= came / 4 + 3, "{refused} refused for {came} that came");
    }
}
