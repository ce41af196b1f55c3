//! Which file of a crate uses which other one, as far as paths tell.
//!
//! Not a parser of Rust: this reads `use` trees and paths that begin with `crate`, `super` or
//! `self`, follows what a module passes on, and leaves out tests.

use std::collections::{BTreeMap, BTreeSet};

use super::TrackedFile;

/// The names from the root of the crate to a module.
pub(super) type Module = Vec<String>;

/// How often a name is passed on at most before it is given up.
const MOST_STEPS: usize = 8;

/// The modules of a crate, one for each file, and what each of them names.
#[derive(Debug, Default)]
pub(super) struct Modules {
    named: BTreeMap<Module, Vec<Vec<String>>>,
    /// The names that each module has from elsewhere.
    borrowed: BTreeMap<Module, BTreeMap<String, Vec<String>>>,
}

impl Modules {
    /// Reads the files below `folder`, which ends with a slash.
    pub(super) fn read(files: &[TrackedFile], folder: &str) -> Self {
        let mut modules = Self::default();
        for file in files {
            let Some(module) = file.path.strip_prefix(folder).and_then(module_of) else { continue };
            modules.add(module, &code_of(file.text.as_deref().unwrap_or_default()));
        }
        modules
    }

    fn add(&mut self, module: Module, code: &str) {
        let mut named = Vec::new();
        let mut borrowed = BTreeMap::new();
        let (uses, rest) = split_uses(code);
        for (path, name) in uses.iter().flat_map(|tree| paths_of(tree)) {
            borrowed.insert(name, path.clone());
            named.push(path);
        }
        named.extend(paths_in(&rest));
        self.named.insert(module.clone(), named);
        self.borrowed.insert(module, borrowed);
    }

    /// All pairs of files of which the first uses the second, without those where one module
    /// stands within the other.
    pub(super) fn arrows(&self) -> BTreeSet<(Module, Module)> {
        let mut arrows = BTreeSet::new();
        for (source, paths) in &self.named {
            for target in paths.iter().filter_map(|path| self.find(source, path, MOST_STEPS)) {
                if !source.starts_with(&target) && !target.starts_with(source) {
                    arrows.insert((source.clone(), target));
                }
            }
        }
        arrows
    }

    /// The module whose file holds what a path names.
    fn find(&self, from: &Module, path: &[String], steps: usize) -> Option<Module> {
        let (mut module, mut rest) = (from.clone(), path);
        match rest.first()?.as_str() {
            "crate" => (module, rest) = (Module::new(), &rest[1..]),
            "self" => rest = &rest[1..],
            "super" => {
                while let Some(("super", after)) = rest.split_first().map(|(n, r)| (n.as_str(), r))
                {
                    module.pop();
                    rest = after;
                }
            }
            // A path of another crate, unless it begins with a module of this file.
            first if !self.is_module(&child(&module, first)) => return None,
            _ => {}
        }
        while let Some((name, after)) = rest.split_first() {
            let inner = child(&module, name);
            if self.is_module(&inner) {
                (module, rest) = (inner, after);
                continue;
            }
            let passed_on = self.borrowed.get(&module).and_then(|names| names.get(name));
            let Some(path) = passed_on.filter(|_| steps > 0) else { break };
            let whole: Vec<String> = path.iter().chain(after).cloned().collect();
            return self.find(&module, &whole, steps - 1).or(Some(module));
        }
        Some(module)
    }

    fn is_module(&self, module: &Module) -> bool {
        self.named.contains_key(module)
    }
}

fn child(module: &Module, name: &str) -> Module {
    let mut inner = module.clone();
    inner.push(name.to_owned());
    inner
}

/// The module of a file, `None` for tests and programs.
fn module_of(path: &str) -> Option<Module> {
    let names = path.strip_suffix(".rs")?;
    let mut module: Module = names.split('/').map(str::to_owned).collect();
    match module.last().map(String::as_str) {
        Some("main") => return None,
        Some("lib" | "mod") => _ = module.pop(),
        _ => {}
    }
    let is_test = |name: &String| name == "tests" || name.ends_with("_tests");
    (!module.iter().any(is_test)).then_some(module)
}

/// A source without comments, tests and what else only tests see.
fn code_of(source: &str) -> String {
    let mut code = String::new();
    let mut lines = source.lines();
    while let Some(line) = lines.next() {
        if line.trim().starts_with("#[cfg(test)]") {
            let item = lines.next().unwrap_or_default().trim();
            if item.starts_with("mod ") && item.ends_with('{') {
                break;
            }
            continue;
        }
        code.push_str(line.split_once("//").map_or(line, |(code, _)| code));
        code.push('\n');
    }
    code
}

/// The trees of all `use` items, and the rest of the source.
fn split_uses(code: &str) -> (Vec<String>, String) {
    let (mut uses, mut rest) = (Vec::new(), String::new());
    let mut open: Option<String> = None;
    for line in code.lines() {
        let tree = match open.take() {
            Some(begun) => Some(begun + line),
            None => use_of(line.trim()).map(str::to_owned),
        };
        match tree {
            Some(tree) => match tree.split_once(';') {
                Some((tree, _)) => uses.push(tree.to_owned()),
                None => open = Some(tree),
            },
            None => {
                rest.push_str(line);
                rest.push('\n');
            }
        }
    }
    (uses, rest)
}

/// What follows `use`, with or without a visibility before it.
fn use_of(line: &str) -> Option<&str> {
    let after = match line.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(')')?.1,
        Some(rest) => rest,
        None => line,
    };
    after.trim_start().strip_prefix("use ")
}

/// Every path of a `use` tree with the name that it gets.
fn paths_of(tree: &str) -> Vec<(Vec<String>, String)> {
    let tree = tree.trim();
    let Some((before, inner)) = tree.split_once('{') else {
        let (path, alias) = tree.split_once(" as ").map_or((tree, None), |(p, a)| (p, Some(a)));
        let mut path: Vec<String> =
            path.split("::").map(|name| name.trim().to_owned()).filter(|n| !n.is_empty()).collect();
        if matches!(path.last().map(String::as_str), Some("self" | "*")) {
            path.pop();
        }
        let name =
            alias.or_else(|| path.last().map(String::as_str)).unwrap_or_default().trim().to_owned();
        return if path.is_empty() { Vec::new() } else { vec![(path, name)] };
    };
    let inner = inner.rsplit_once('}').map_or(inner, |(inner, _)| inner);
    let branches = branches_of(inner).into_iter();
    branches.flat_map(|branch| paths_of(&format!("{before}{branch}"))).collect()
}

/// Splits at the commas that stand in no braces.
fn branches_of(inner: &str) -> Vec<&str> {
    let (mut branches, mut depth, mut start) = (Vec::new(), 0_usize, 0);
    for (index, letter) in inner.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                branches.push(inner[start..index].trim());
                start = index + 1;
            }
            _ => {}
        }
    }
    branches.push(inner[start..].trim());
    branches.retain(|branch| !branch.is_empty());
    branches
}

/// Paths within code that begin at the root or beside the module.
fn paths_in(code: &str) -> Vec<Vec<String>> {
    let is_part = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | ':');
    let words = code.split(|letter| !is_part(letter));
    let paths = words.filter(|word| {
        ["crate::", "super::", "self::"].iter().any(|start| word.starts_with(start))
    });
    paths
        .map(|path| path.split("::").filter(|name| !name.is_empty()).map(str::to_owned).collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    fn arrows(files: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<_> = files.iter().map(|(path, text)| file(path, text)).collect();
        let arrows = Modules::read(&files, "src/").arrows();
        let shown = |(source, target): (Module, Module)| {
            format!("{} -> {}", source.join("/"), target.join("/"))
        };
        arrows.into_iter().map(shown).collect()
    }

    #[test]
    fn names_are_followed_to_the_file_that_holds_them() {
        let files = [
            ("src/lib.rs", "mod a;\nmod b;\n"),
            ("src/a/mod.rs", "mod inner;\npub(crate) use inner::{Deep, other as Renamed};\n"),
            ("src/a/inner.rs", "pub struct Deep;\n"),
            ("src/b.rs", "use std::fmt;\nuse crate::{\n    a::{Deep, Own},\n    c::*,\n};\n"),
            ("src/c.rs", "fn f() { crate::a::Renamed(super::b::x) }\n"),
        ];
        let found = arrows(&files);
        assert_eq!(found, ["b -> a", "b -> a/inner", "b -> c", "c -> a/inner", "c -> b"]);
    }

    #[test]
    fn parents_comments_and_tests_draw_no_arrow() {
        let files = [
            ("src/a/mod.rs", "mod inner;\nuse inner::X;\n"),
            ("src/a/inner.rs", "use super::Y;\nuse super::super::lib;\n"),
            (
                "src/b.rs",
                "// crate::a\n#[cfg(test)]\nuse crate::a;\n#[cfg(test)]\nmod tests {\n    use crate::a;\n}\n",
            ),
            ("src/b/tests.rs", "use crate::a;\n"),
        ];
        assert_eq!(arrows(&files), [""; 0]);
    }
}
