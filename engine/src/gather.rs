//! Maps and sorted lists, in less code than the standard library's: docs/decisions/0012.

use std::cmp::Ordering;

/// What `items` make: as `collect`, by one insertion after another. `BTreeMap::from_iter` sorts its items beforehand, by a
/// stable sort that is compiled once more for each iterator, 4 kB in the module each time.
pub fn gathered<C: Default + Extend<T>, T>(items: impl IntoIterator<Item = T>) -> C {
    let mut gathered = C::default();
    gathered.extend(items);
    gathered
}

/// As [`gathered`], of items that may not be had.
///
/// # Errors
/// The first item's that has one.
pub fn try_gathered<C: Default + Extend<T>, T, E>(items: impl IntoIterator<Item = Result<T, E>>) -> Result<C, E> {
    let mut gathered = C::default();
    for item in items {
        gathered.extend([item?]);
    }
    Ok(gathered)
}

/// `items` in order; equals stay as they come. One sort for all types, where each `sort_by` compiles one of its own.
pub fn sorted<T>(items: Vec<T>, compare: &dyn Fn(&T, &T) -> Ordering) -> Vec<T> {
    let places = sorted_places(items.len(), &|a, b| match (items.get(a), items.get(b)) {
        (Some(a), Some(b)) => compare(a, b),
        _ => Ordering::Equal,
    });
    let mut items: Vec<_> = items.into_iter().map(Some).collect();
    places.into_iter().filter_map(|place| items.get_mut(place)?.take()).collect()
}

#[inline(never)]
fn sorted_places(length: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut places: Vec<_> = (0..length).collect();
    places.sort_by(|a, b| compare(*a, *b));
    places
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn items_are_sorted_as_the_standard_library_does(items: Vec<(u8, u32)>) {
            let mut expected = items.clone();
            expected.sort_by_key(|item| item.0);
            prop_assert_eq!(sorted(items, &|a, b| a.0.cmp(&b.0)), expected);
        }

        #[test]
        fn the_last_of_equal_keys_is_gathered(items: Vec<(u8, u32)>) {
            use std::collections::BTreeMap;
            let expected: BTreeMap<_, _> = items.iter().copied().collect();
            prop_assert_eq!(&gathered::<BTreeMap<_, _>, _>(items.iter().copied()), &expected);
            let fallible = items.into_iter().map(Ok::<_, ()>);
            prop_assert_eq!(try_gathered::<BTreeMap<_, _>, _, _>(fallible), Ok(expected));
        }
    }

    #[test]
    fn nothing_is_asked_for_after_what_cannot_be_had() {
        let mut items = [Ok(1), Err("first"), Err("second")].into_iter();
        assert_eq!(try_gathered::<Vec<_>, _, _>(items.by_ref()), Err("first"));
        assert_eq!(items.next(), Some(Err("second")));
    }
}
