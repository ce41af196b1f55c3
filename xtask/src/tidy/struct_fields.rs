//! Reads the fields of the structs in a Rust source, well enough for plain configuration structs.
//!
//! Not a parser of Rust: it knows line comments, attributes, visibility, names and types, which is
//! all that such structs consist of. What it cannot read it leaves out.

/// A struct with named fields.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Struct {
    pub(super) name: String,
    /// `rename_all = "kebab-case"` of serde, which turns `_` into `-`.
    pub(super) kebab_case: bool,
    pub(super) fields: Vec<Field>,
}

/// One field, by the name that serde knows it by.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: String,
    /// The type as written, without spaces.
    pub(super) kind: String,
    /// Its own fields stand in its place: `#[serde(flatten)]`.
    pub(super) flattened: bool,
    /// Never read from outside: `#[serde(skip)]`.
    pub(super) skipped: bool,
}

/// All structs with named fields of `source`, up to its tests.
pub(super) fn read_structs(source: &str) -> Vec<Struct> {
    let text = without_comments(source);
    let mut structs = Vec::new();
    let mut rest = text.as_str();
    let mut before = String::new();
    while let Some(start) = rest.find("struct ") {
        before.push_str(&rest[..start]);
        rest = &rest[start + "struct ".len()..];
        if let Some((found, after)) = read_struct(rest, &before) {
            structs.push(found);
            rest = after;
        }
        before.clear();
    }
    structs
}

fn without_comments(source: &str) -> String {
    let lines = source.lines().take_while(|line| line.trim() != "#[cfg(test)]");
    let code = lines.map(|line| line.split_once("//").map_or(line, |(code, _)| code));
    code.collect::<Vec<_>>().join("\n")
}

/// `text` begins after the word `struct`; `before` ends with its attributes.
fn read_struct<'a>(text: &'a str, before: &str) -> Option<(Struct, &'a str)> {
    let end_of_name = text.find(|letter: char| !is_word(letter))?;
    let (name, rest) = text.split_at(end_of_name);
    let opening = rest.find(['{', '(', ';'])?;
    let body = rest[opening..].strip_prefix('{')?;
    let length = length_to_closing_brace(body)?;
    let fields = split_fields(&body[..length]).into_iter().filter_map(read_field).collect();
    // Attributes of the item before lie on the other side of its closing brace.
    let attributes = before.rsplit(['}', ';']).next().unwrap_or_default();
    let kebab_case = attributes.contains("rename_all = \"kebab-case\"");
    Some((Struct { name: name.to_owned(), kebab_case, fields }, &body[length..]))
}

fn length_to_closing_brace(body: &str) -> Option<usize> {
    let mut depth = 1_usize;
    for (index, letter) in body.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(index);
        }
    }
    None
}

/// Splits at the commas that stand in no bracket.
fn split_fields(body: &str) -> Vec<&str> {
    let mut depth = 0_i32;
    body.split(|letter| {
        match letter {
            '<' | '(' | '[' | '{' => depth += 1,
            '>' | ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        letter == ',' && depth == 0
    })
    .collect()
}

fn read_field(text: &str) -> Option<Field> {
    let (attributes, declaration) = split_attributes(text.trim());
    let declaration = match declaration.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(')')?.1,
        Some(rest) if rest.starts_with(char::is_whitespace) => rest,
        _ => declaration,
    };
    let (name, kind) = declaration.split_once(':')?;
    let serde = attributes.replace(' ', "");
    let renamed = serde.split_once("rename=\"").and_then(|(_, rest)| rest.split_once('"'));
    Some(Field {
        name: renamed.map_or_else(|| name.trim().to_owned(), |(renamed, _)| renamed.to_owned()),
        kind: kind.split_whitespace().collect(),
        flattened: serde.contains("flatten"),
        skipped: serde.contains("(skip)") || serde.contains("skip_deserializing"),
    })
}

fn split_attributes(text: &str) -> (&str, &str) {
    let mut end = 0;
    while text[end..].trim_start().starts_with("#[") {
        let Some(length) = text[end..].find(']') else { break };
        end += length + 1;
    }
    (&text[..end], text[end..].trim_start())
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, kind: &str) -> Field {
        Field { name: name.to_owned(), kind: kind.to_owned(), flattened: false, skipped: false }
    }

    #[test]
    fn plain_fields_are_read_whatever_their_visibility() {
        let source = "
            /// Doc with a struct in it: struct Wrong { a: B }
            #[derive(Debug)]
            pub(crate) struct Config {
                /// The port, default 8848, and more.
                pub port: u16,
                pub(crate) limits: Limits, // struct Nothing {}
                map: BTreeMap<String, (u8, u8)>,
            }
            impl Config { fn new() -> Self { Self { port: 1 } } }
        ";
        let fields = vec![
            field("port", "u16"),
            field("limits", "Limits"),
            field("map", "BTreeMap<String,(u8,u8)>"),
        ];
        let expected = Struct { name: "Config".to_owned(), kebab_case: false, fields };
        assert_eq!(read_structs(source), [expected]);
    }

    #[test]
    fn serde_attributes_are_honoured() {
        let source = "
            #[serde(rename_all = \"kebab-case\", default)]
            struct A {
                #[serde(rename = \"other\")]
                own: u8,
                #[serde(flatten)]
                inner: B,
                #[serde(default, with = \"milliseconds\")]
                wait: Duration,
                #[serde(skip)]
                hidden: u8,
            }
            struct C { c: u8 }
        ";
        let structs = read_structs(source);
        assert!(structs[0].kebab_case && !structs[1].kebab_case);
        let fields = &structs[0].fields;
        assert_eq!(fields[0], field("other", "u8"));
        assert!(fields[1].flattened && !fields[1].skipped);
        assert_eq!(fields[2], field("wait", "Duration"));
        assert!(fields[3].skipped);
    }

    #[test]
    fn other_shapes_and_tests_are_left_out() {
        let source = "struct Unit;\nstruct Pair(u8, u8);\nstruct Real<'a> { a: &'a str }\n\
                      #[cfg(test)]\nmod tests { struct Fake { b: u8 } }\n";
        let structs = read_structs(source);
        assert_eq!(structs.len(), 1);
        assert_eq!(structs[0].fields, [field("a", "&'astr")]);
        assert!(read_structs("struct Broken { a: u8").is_empty());
    }
}
