//! Files, directories and standard input to objects, each with the place that it was written at.

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use serde_saphyr::Spanned;

/// Where an object was written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place {
    file: Arc<str>,
    /// Line that the document begins in; unknown in JSON.
    line: Option<u64>,
    /// Which document of the file, from 1.
    document: usize,
    /// Which item of a List, from 1.
    item: Option<usize>,
}

/// An object and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Where it was written.
    pub place: Place,
    /// As it was written.
    pub object: Value,
}

/// One thing that is wrong with what was given.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InputProblem {
    place: String,
    message: String,
}

/// The endings that are read in a directory, as kubectl does.
const EXTENSIONS: [&str; 3] = ["json", "yaml", "yml"];

/// Reads everything that `paths` name. What cannot be read is a problem beside what can.
pub fn read_documents(paths: &[PathBuf], recursive: bool) -> (Vec<Document>, Vec<InputProblem>) {
    let (mut documents, mut problems) = (Vec::new(), Vec::new());
    for path in paths {
        let (mut found, problems_before) = (0, problems.len());
        for file in files_of(path, recursive, &mut problems) {
            match read_text(&file) {
                Ok(text) => found += parse_file(&name_of(&file), &text, &mut documents, &mut problems),
                Err(error) => problems.push(InputProblem::of_file(&file, format!("cannot be read: {error}"))),
            }
        }
        // A wrong directory in a pipeline would otherwise pass as "nothing changes" for ever.
        if found == 0 && problems.len() == problems_before {
            let message =
                "holds no object; of a directory, .json, .yaml and .yml files are read, those below it with -R";
            problems.push(InputProblem::of_file(path, message.to_owned()));
        }
    }
    (documents, problems)
}

fn files_of(path: &Path, recursive: bool, problems: &mut Vec<InputProblem>) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    let mut entries = match list_directory(path) {
        Ok(entries) => entries,
        Err(error) => {
            problems.push(InputProblem::of_file(path, format!("cannot be listed: {error}")));
            return Vec::new();
        }
    };
    // The order of a directory is the file system's; what is reported must not depend on it.
    entries.sort();
    let mut files = Vec::new();
    for entry in entries {
        if entry.is_dir() {
            if recursive {
                files.extend(files_of(&entry, recursive, problems));
            }
        } else if entry
            .extension()
            .is_some_and(|ending| EXTENSIONS.iter().any(|known| ending == *known))
        {
            files.push(entry);
        }
    }
    files
}

fn list_directory(path: &Path) -> io::Result<Vec<PathBuf>> {
    std::fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect()
}

fn read_text(path: &Path) -> io::Result<String> {
    if path == Path::new("-") {
        let mut text = String::new();
        io::stdin().lock().read_to_string(&mut text)?;
        return Ok(text);
    }
    std::fs::read_to_string(path)
}

fn name_of(path: &Path) -> Arc<str> {
    if path == Path::new("-") {
        return "stdin".into();
    }
    path.display().to_string().into()
}

/// How many documents there were: an empty List is one too.
fn parse_file(file: &Arc<str>, text: &str, documents: &mut Vec<Document>, problems: &mut Vec<InputProblem>) -> usize {
    if let Some(objects) = parse_json(text) {
        let found = objects.len();
        for (index, object) in objects.into_iter().enumerate() {
            expand(Place::new(file, index, None), object, documents);
        }
        return found;
    }
    let (mut bytes, mut found) = (text.as_bytes(), 0);
    for (index, parsed) in serde_saphyr::read::<_, Spanned<Value>>(&mut bytes).enumerate() {
        found += 1;
        match parsed {
            Ok(spanned) => {
                let place = Place::new(file, index, Some(spanned.referenced.line()));
                expand(place, spanned.value, documents);
            }
            Err(error) => {
                let place = Place::new(file, index, error.location().map(|location| location.line()));
                let message = format!("is not YAML: {}", error.without_snippet());
                problems.push(InputProblem::new(&place, message));
            }
        }
    }
    found
}

/// The objects of a file that is JSON through and through. Anything else is left to YAML, of which JSON is a part, and
/// whose errors know their line.
fn parse_json(text: &str) -> Option<Vec<Value>> {
    if !text.trim_start().starts_with('{') {
        return None;
    }
    serde_json::Deserializer::from_str(text)
        .into_iter()
        .collect::<Result<_, _>>()
        .ok()
}

/// The object, or the items of a List. Items of a typed list (NamespaceList) need not say their kind.
fn expand(place: Place, mut object: Value, documents: &mut Vec<Document>) {
    let list_kind = object["kind"].as_str().and_then(|kind| kind.strip_suffix("List"));
    let item_kind = list_kind.map(ToOwned::to_owned);
    let api_version = object["apiVersion"].clone();
    let (Some(item_kind), Some(items)) = (item_kind, object.get_mut("items").and_then(Value::as_array_mut)) else {
        documents.push(Document { place, object });
        return;
    };
    for (index, mut item) in std::mem::take(items).into_iter().enumerate() {
        if let Some(fields) = item.as_object_mut().filter(|_| !item_kind.is_empty()) {
            fields.entry("kind").or_insert_with(|| Value::from(item_kind.as_str()));
            fields.entry("apiVersion").or_insert_with(|| api_version.clone());
        }
        let place = Place {
            item: Some(index + 1),
            ..place.clone()
        };
        expand(place, item, documents);
    }
}

impl Place {
    fn new(file: &Arc<str>, index: usize, line: Option<u64>) -> Self {
        Self {
            file: Arc::clone(file),
            line,
            document: index + 1,
            item: None,
        }
    }
}

impl InputProblem {
    /// A problem of an object.
    pub fn new(place: &Place, message: impl Into<String>) -> Self {
        Self {
            place: place.to_string(),
            message: message.into(),
        }
    }

    fn of_file(path: &Path, message: String) -> Self {
        Self {
            place: name_of(path).to_string(),
            message,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(formatter, ":{line}")?;
        }
        write!(formatter, " (document {}", self.document)?;
        if let Some(item) = self.item {
            write!(formatter, ", item {item}")?;
        }
        formatter.write_str(")")
    }
}

impl fmt::Display for InputProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.place, self.message)
    }
}
