//! Fields that a file has and the schema has not.

use serde_json::Value;

/// The paths of fields in `written` that did not survive being read: a mistyped `ports` would otherwise
/// widen an allowance to every port.
///
/// `read` is what was read, serialised again; it leaves out only what was absent or null.
pub fn unknown_fields(written: &Value, read: &Value) -> Vec<String> {
    let mut unknown = Vec::new();
    collect(written, read, "", &mut unknown);
    unknown
}

fn collect(written: &Value, read: &Value, path: &str, unknown: &mut Vec<String>) {
    match (written, read) {
        (Value::Object(written), Value::Object(read)) => {
            for (key, value) in written.iter().filter(|(_, value)| !value.is_null()) {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                match read.get(key) {
                    Some(read) => collect(value, read, &path, unknown),
                    None => unknown.push(path),
                }
            }
        }
        (Value::Array(written), Value::Array(read)) => {
            for (index, (written, read)) in written.iter().zip(read).enumerate() {
                collect(written, read, &format!("{path}[{index}]"), unknown);
            }
        }
        // The reader of types takes `[]` for an object without fields, which as a selector means everything.
        (Value::Array(_), Value::Object(_)) => unknown.push(path.to_owned()),
        _ => {}
    }
}
