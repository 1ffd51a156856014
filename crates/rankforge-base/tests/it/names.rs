use rankforge_base::{hexadecimal, nearest, quoted_list};

#[test]
fn only_a_similar_name_is_suggested() {
    let names = ["learning_rate", "logging_steps", "seed"];
    assert_eq!(nearest("learning_rat", names), Some("learning_rate"));
    assert_eq!(nearest("Logging-Steps", names), Some("logging_steps"));
    assert_eq!(nearest("seeds", names), Some("seed"));
    assert_eq!(nearest("qqqq", names), None);
    assert_eq!(nearest("", names), None);
}

#[test]
fn names_are_joined_as_in_a_sentence() {
    assert_eq!(quoted_list([]), "nothing");
    assert_eq!(quoted_list(["a"]), "`a`");
    assert_eq!(quoted_list(["a", "b", "c"]), "`a`, `b` and `c`");
}

#[test]
fn every_byte_is_two_hexadecimal_digits() {
    assert_eq!(hexadecimal(&[0, 1, 0xab, 0xff]), "0001abff");
}
