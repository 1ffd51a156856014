use crate::text;
use rankforge_data::{Description, Rows, Spread, Value};

#[test]
fn a_description_counts_over_chunks() {
    let chunk = |texts: [Value; 2], numbers: [Value; 2]| {
        Rows::new(vec![("t".into(), texts.to_vec()), ("n".into(), numbers.to_vec())]).unwrap()
    };
    let mut description = Description::default();
    description.add(&chunk([text("日本"), Value::Null], [Value::Integer(3), Value::Float(0.5)]));
    let list = Value::List(vec![text("abcd"), text("")]);
    description.add(&chunk([text("日本"), list], [Value::Float(f64::NAN), Value::Boolean(true)]));
    assert_eq!(description.rows(), 4);
    let [t, n] = &description.columns()[..] else { panic!("expected two columns") };
    assert_eq!((t.name.as_str(), t.nulls, t.distinct), ("t", 1, 2));
    assert_eq!(t.kinds, ["text", "list"]);
    assert_eq!(t.characters, Some(Spread { min: 0.0, mean: 2.0, max: 4.0 }));
    assert_eq!(t.items, Some(Spread { min: 2.0, mean: 2.0, max: 2.0 }));
    assert_eq!(t.numbers, None);
    assert_eq!(n.kinds, ["integer", "float", "boolean"]);
    assert_eq!(n.numbers, Some(Spread { min: 0.5, mean: 1.75, max: 3.0 }));
    assert_eq!((n.nulls, n.distinct), (0, 4));
}
