//! Confirmations whose annotation is gone.

use super::*;

// It was forgotten with the annotation, or with a tier that the caches lost for a moment.
#[test]
fn a_digest_that_is_gone_for_a_moment_confirms_nothing_when_it_comes_back() {
    for restarts in [false, true] {
        let mut brake = Brake::new(MaxUnprotected::default());
        let mut wanted = census(0, 0..100);
        let digest = brake.held(&wanted, seconds(0))["t"].digest.clone();
        confirm(&mut wanted, "t", &digest);
        assert_eq!(brake.held(&wanted, seconds(1)), BTreeMap::new());
        // The labels are put right, and the annotation is gone.
        brake.held(&census(100, []), seconds(2));
        if restarts {
            let remaining = brake.remaining_of("t").unwrap();
            assert_eq!((&*remaining.digest, remaining.fingerprints.len()), (&*digest, 0));
            brake = Brake::new(MaxUnprotected::default());
            brake.remember_spent(&"t".into(), &remaining.digest);
        }
        assert_eq!(all_ask(&mut brake, &mut wanted, seconds(3)), 0);
        let anew = brake.held(&wanted, seconds(3))["t"].digest.clone();
        assert_ne!(anew, digest);
        confirm(&mut wanted, "t", &anew);
        assert_eq!(all_ask(&mut brake, &mut wanted, seconds(4)), 200);
    }
}

#[test]
fn what_is_remembered_of_confirmations_is_bounded() {
    let mut brake = Brake::new(MaxUnprotected::default());
    for number in 0..1000 {
        let (tier, digest) = (format!("t{number}"), format!("{number:016}"));
        brake.remember_spent(&tier.as_str().into(), &digest.as_str().into());
    }
    let known = (0..1000).filter(|number| brake.remaining_of(&format!("t{number}")).is_some());
    assert!(known.eq(744..1000));
}
