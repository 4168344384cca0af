//! What sentinels and nodes of a cluster answer about who has what.

use redis::Value;

use super::Address;

/// A range of slots, and the primary that has it.
pub(super) type Range = (u16, u16, Address);

/// Reads the answer of `SENTINEL GET-MASTER-ADDR-BY-NAME`.
pub(super) fn primary(answer: &Value) -> Option<Address> {
    let Value::Array(parts) = answer else { return None };
    let [host, port] = parts.as_slice() else { return None };
    let port = text(port)?.parse().ok()?;
    Some(Address { host: text(host)?, port })
}

/// Reads the answer of `CLUSTER SLOTS`. A node that doesn't know its own name
/// is reached where it was asked.
pub(super) fn read(answer: &Value, asked: &Address) -> Vec<Range> {
    let Value::Array(ranges) = answer else { return Vec::new() };
    ranges.iter().filter_map(|range| one(range, asked)).collect()
}

/// The server that has a slot.
pub(super) fn owner(map: &[Range], slot: u16) -> Option<&Address> {
    map.iter().find(|(from, to, _)| (*from..=*to).contains(&slot)).map(|(_, _, owner)| owner)
}

fn one(range: &Value, asked: &Address) -> Option<Range> {
    let Value::Array(parts) = range else { return None };
    let [Value::Int(from), Value::Int(to), Value::Array(primary), ..] = parts.as_slice() else {
        return None;
    };
    let [host, Value::Int(port), ..] = primary.as_slice() else { return None };
    let owner = Address { host: text(host).unwrap_or_default(), port: u16::try_from(*port).ok()? };
    Some((u16::try_from(*from).ok()?, u16::try_from(*to).ok()?, owner.or_of(asked)))
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) => Some(text.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn at(host: &str, port: u16) -> Address {
        Address { host: host.to_owned(), port }
    }

    fn range(from: i64, to: i64, host: Value, port: i64) -> Value {
        let primary = Value::Array(vec![host, Value::Int(port), bulk("id")]);
        let replica = Value::Array(vec![bulk("10.0.0.9"), Value::Int(1), bulk("id")]);
        Value::Array(vec![Value::Int(from), Value::Int(to), primary, replica])
    }

    #[test]
    fn a_primary_is_read_from_a_sentinels_answer() {
        let answer = Value::Array(vec![bulk("10.0.0.1"), bulk("6379")]);
        assert_eq!(primary(&answer), Some(at("10.0.0.1", 6379)));
        for other in [Value::Nil, Value::Array(vec![]), Value::Array(vec![bulk("a"), bulk("b")])] {
            assert_eq!(primary(&other), None, "{other:?}");
        }
    }

    #[test]
    fn slots_are_found_with_the_primary_of_their_range() {
        let asked = at("asked", 7000);
        let answer = Value::Array(vec![
            range(0, 5_460, bulk("10.0.0.1"), 7001),
            range(5_461, 10_922, Value::Nil, 7002),
            range(10_923, 16_383, bulk(""), 7003),
            Value::Nil,
            range(-1, 70_000, bulk("10.0.0.1"), 7001),
        ]);
        let map = read(&answer, &asked);
        for (slot, owner_is) in [
            (0, at("10.0.0.1", 7001)),
            (5_460, at("10.0.0.1", 7001)),
            (5_461, at("asked", 7002)),
            (16_383, at("asked", 7003)),
        ] {
            assert_eq!(owner(&map, slot), Some(&owner_is), "{slot}");
        }
        assert_eq!(owner(&map[..1], 16_383), None);
    }
}
