//! How many objects a list is asked for at once: many, and fewer where somebody made them so large that a page would fill
//! the memory.

use std::error::Error;

use super::super::client::PageTooLarge;

/// Objects in one answer to a list.
pub(super) const PAGE: u32 = 500;
/// A page that was too large is asked for again with so many times fewer objects.
const SHRINKS_BY: u32 = 8;

/// The size of the next page.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct PageSize(u32);

impl PageSize {
    /// As many as usual.
    pub(super) fn usual() -> Self {
        Self(PAGE)
    }

    /// What to ask for. A page of one object is never too large.
    pub(super) fn objects(self) -> u32 {
        self.0
    }

    /// The page came: what comes next may be smaller.
    pub(super) fn after_a_page(self) -> Self {
        Self(self.0.saturating_mul(2).min(PAGE))
    }

    /// The size to ask for the same page with; `None` where this is another error.
    pub(super) fn smaller(self, error: &kube::Error) -> Option<Self> {
        (self.0 > 1 && is_too_large(error)).then(|| Self((self.0 / SHRINKS_BY).max(1)))
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
        assert_eq!(sizes, [2, 4, 8, 16, 32, 64, 128, 256, 500]);
        let other = kube::Error::Service("away".into());
        assert_eq!(size.smaller(&other), None);
    }
}
