//! Reading what is to be judged: a manifest (`cld-answers/1`, or one of our own `cld-vectors/1`)
//! with its arrays.

use crate::error::{Error, Result};
use crate::files::json::parse_json_within;
use crate::files::{Archive, Array, Limits, Precision, read_text};
use crate::truth::config::{Config, Layout, number};
use crate::truth::predict::{self, NOT_YET, QUANTITIES};
use crate::truth::quantity::{LawOf, Quantity};
use crate::truth::reader::{SETTINGS, setting_key, whole_array};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What the user's code did with an entry.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Arrays by output name.
    Given(BTreeMap<String, Array>),
    /// It raised an error instead; its words.
    Raised(String),
    /// Nothing (only possible for our vectors).
    Missing,
}

/// One entry of a manifest.
#[derive(Clone)]
pub struct Entry {
    /// Its id, unique in the file.
    pub id: String,
    /// The quantity, as in [`QUANTITIES`].
    pub quantity: String,
    /// Process, schedule, objective.
    pub config: Config,
    /// Input arrays by name.
    pub inputs: BTreeMap<String, Array>,
    /// The answer.
    pub answer: Answer,
}

/// A file's entries.
#[derive(Clone)]
pub struct Answers {
    /// The file that was read.
    pub file: PathBuf,
    /// What made the numbers, in its own words.
    pub implementation: String,
    /// Entries that can be judged.
    pub entries: Vec<Entry>,
    /// Entries that cannot be judged, each with the reason in a sentence.
    pub unusable: Vec<Unusable>,
    /// Things that were given and not used: surplus inputs, arrays of the answers that no entry
    /// names.
    pub ignored: Vec<String>,
    /// Quantities of later versions, with the number of entries of each.
    pub not_yet: BTreeMap<String, usize>,
}

/// An entry that cannot be judged.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Unusable {
    /// The entry's id (or its place in the list, where it has none).
    pub entry: String,
    /// Its quantity, where it says one.
    pub quantity: String,
    /// Why.
    pub why: String,
}

/// The file that `path` means: itself, itself with `.json` added, or for a folder its
/// `manifest.json` or only `.json`.
///
/// # Errors
/// No such file; a folder with several manifests or none.
pub fn find_manifest(path: &Path) -> Result<PathBuf> {
    let io = |problem: &str| Error::Io {
        path: path.display().to_string(),
        problem: problem.to_string(),
    };
    if path.is_dir() {
        let own = path.join("manifest.json");
        if own.is_file() {
            return Ok(own);
        }
        let list = std::fs::read_dir(path).map_err(|e| io(&format!("cannot be read: {e}")))?;
        let mut found: Vec<PathBuf> = list
            .filter_map(|e| e.ok().map(|e| e.path()))
            .filter(|p| p.extension().is_some_and(|x| x == "json"))
            .collect();
        found.sort();
        return match found.as_slice() {
            [one] => Ok(one.clone()),
            [] => Err(io(
                "is a folder without manifest.json; allowed: a folder that `cld vectors` wrote, or with one .json manifest",
            )),
            _ => Err(io(
                "is a folder with several .json files and no manifest.json; name the file",
            )),
        };
    }
    if path.is_file() {
        return Ok(path.to_path_buf());
    }
    let mut longer = path.as_os_str().to_os_string();
    longer.push(".json");
    let longer = PathBuf::from(longer);
    if longer.is_file() {
        Ok(longer)
    } else {
        Err(io("no such file or folder (nor with .json added)"))
    }
}

/// Fields of a vectors manifest.
pub const MANIFEST_KEYS: &[&str] = &[
    "schema", "version", "seed", "about", "arrays", "notes", "entries",
];

/// Keys an entry of a covered quantity may have; any other could change what the numbers mean.
const ENTRY_KEYS: &[&str] = &[
    "id", "quantity", "process", "inputs", "outputs", "raised", "note", "flags", "catches",
];

/// A JSON array of numbers of any depth, or one number.
fn inline(v: &Json, place: &dyn Fn(String) -> Error) -> Result<Array> {
    fn fill(
        v: &Json,
        depth: usize,
        shape: &mut Vec<usize>,
        data: &mut Vec<f64>,
    ) -> std::result::Result<(), String> {
        if let Json::Array(list) = v {
            if shape.len() == depth {
                if !data.is_empty() {
                    return Err("is ragged; allowed: nested lists of equal lengths".into());
                }
                shape.push(list.len());
            } else if shape[depth] != list.len() {
                return Err("is ragged; allowed: nested lists of equal lengths".into());
            }
            return list
                .iter()
                .try_for_each(|x| fill(x, depth + 1, shape, data));
        }
        if shape.len() != depth {
            return Err("is ragged; allowed: nested lists of equal lengths".into());
        }
        data.push(number(v).ok_or_else(|| {
            format!("holds {v}; allowed: numbers, or the strings NaN, Infinity, -Infinity")
        })?);
        Ok(())
    }
    let (mut shape, mut data) = (Vec::new(), Vec::new());
    fill(v, 0, &mut shape, &mut data).map_err(place)?;
    Ok(Array {
        shape,
        data,
        precision: Precision::F64,
    })
}

/// Where an entry's arrays come from: for answers to our vectors, outputs are in a file of their
/// own.
struct Sources<'a> {
    inputs: Option<&'a Archive>,
    outputs: Option<&'a Archive>,
    file: &'a str,
    answers: &'a Path,
}

/// A wrong thing in an entry: where, and what is allowed.
fn wrong(place: &str, problem: impl Into<String>) -> Error {
    Error::Format {
        file: place.to_string(),
        place: String::new(),
        problem: problem.into(),
    }
}

/// The arrays under `key` of an entry, by name. `None`: there is no array of that name.
fn arrays(
    e: &Json,
    key: &str,
    archive: Option<&Archive>,
) -> Result<BTreeMap<String, (String, Option<Array>)>> {
    let Some(Json::Object(o)) = e.get(key) else {
        return Err(wrong(
            key,
            "missing; allowed: an object from names to arrays",
        ));
    };
    let mut map = BTreeMap::new();
    for (name, v) in o {
        let place = |problem: String| wrong(&format!("{key}.{name}"), problem);
        let (called, array) = match v {
            Json::String(called) => (called.clone(), archive.map_or(Ok(None), |a| a.get(called))?),
            other => (String::new(), Some(inline(other, &place)?)),
        };
        map.insert(name.clone(), (called, array));
    }
    Ok(map)
}

/// The same, all of them there.
fn all_there(
    key: &str,
    map: BTreeMap<String, (String, Option<Array>)>,
    file: &str,
) -> Result<BTreeMap<String, Array>> {
    let there = |(name, (called, array)): (String, (String, Option<Array>))| match array {
        Some(array) => Ok((name, array)),
        None => Err(wrong(
            &format!("{key}.{name}"),
            format!("the array `{called}` is missing in {file}"),
        )),
    };
    map.into_iter().map(there).collect()
}

/// The process of an entry of this quantity.
fn configuration(e: &Json, known: &Quantity) -> Result<Config> {
    let process = e.get("process").ok_or_else(|| {
        wrong(
            "process",
            "missing; allowed: an object with `kind` and parameters",
        )
    })?;
    let config = Config::from_answers(process).map_err(|e| wrong("process", e.to_string()))?;
    if matches!(known.law, LawOf::Objective | LawOf::ObjectiveAndGamma)
        && process.get("objective").is_none()
        && config.gamma.is_some()
    {
        // with gamma one means HSM or not: there is nothing to guess by
        let gamma = config.entry.gamma.unwrap_or("gamma");
        return Err(wrong(
            "process",
            format!("objective is missing beside {gamma}; allowed: dsm, hsm or transition"),
        ));
    }
    Ok(config)
}

/// The settings that an entry gives, as the arrays that quantities read.
fn settings_of(e: &Json, settings: &[&str]) -> Result<BTreeMap<String, Array>> {
    let mut all = BTreeMap::new();
    for setting in SETTINGS.iter().filter(|s| settings.contains(&s.name)) {
        let (field, words) = (setting.name, setting.words);
        let Some(v) = e.get(field) else { continue };
        let (value, allowed) = if words.is_empty() {
            (v.as_f64(), "a number".to_string())
        } else {
            let truth = || v.as_bool().map(|b| b.to_string());
            let word = v.as_str().map(String::from).or_else(truth);
            let place = word.and_then(|w| words.iter().position(|x| *x == w));
            (place.map(|i| i as f64), words.join(", "))
        };
        let value = value.ok_or_else(|| wrong(field, format!("is {v}; allowed: {allowed}")))?;
        all.insert(setting_key(field), Array::new(vec![1], vec![value])?);
    }
    Ok(all)
}

/// The outputs of an entry that has not been given up.
fn answer_of(e: &Json, sources: &Sources<'_>) -> Result<Answer> {
    let separate = sources.outputs;
    let file = if separate.is_some() {
        sources.answers.display().to_string()
    } else {
        sources.file.to_string()
    };
    let map = arrays(e, "outputs", separate.or(sources.inputs))?;
    if map.is_empty() {
        return Err(wrong("outputs", "empty; allowed: at least one output"));
    }
    if separate.is_some() && map.values().all(|(_, a)| a.is_none()) {
        Ok(Answer::Missing)
    } else {
        Ok(Answer::Given(all_there("outputs", map, &file)?))
    }
}

/// The quantity of an entry, which has no field but those of all entries and its settings.
fn quantity_of(e: &Json, quantity: &str) -> Result<&'static Quantity> {
    let known = predict::quantity(quantity).ok_or_else(|| {
        let all: Vec<_> = QUANTITIES.iter().map(|q| q.name).collect();
        wrong(
            "quantity",
            format!("`{quantity}` is not known; allowed: {}", all.join(", ")),
        )
    })?;
    let allowed = [ENTRY_KEYS, known.settings].concat();
    let mut fields = e.as_object().into_iter().flat_map(|o| o.keys());
    match fields.find(|k| !allowed.contains(&k.as_str())) {
        Some(key) => Err(wrong(
            key,
            format!("unknown field; allowed: {}", allowed.join(", ")),
        )),
        None => Ok(known),
    }
}

/// One entry of a manifest.
fn read_entry(
    e: &Json,
    id: &str,
    quantity: &str,
    sources: &Sources<'_>,
    ignored: &mut Vec<String>,
) -> Result<Entry> {
    let is_text = |key: &str| {
        e.get(key)
            .and_then(Json::as_str)
            .map(|_| ())
            .ok_or_else(|| wrong(key, "missing; allowed: a string"))
    };
    is_text("id")?;
    is_text("quantity")?;
    let known = quantity_of(e, quantity)?;
    let settings = known.settings;
    let config = configuration(e, known)?;
    let raised = e
        .get("raised")
        .map(|r| r.as_str().map_or_else(|| r.to_string(), str::to_string));
    let mut inputs = match (&raised, e.get("inputs")) {
        (Some(_), None) => BTreeMap::new(),
        _ => all_there("inputs", arrays(e, "inputs", sources.inputs)?, sources.file)?,
    };
    inputs.extend(settings_of(e, settings)?);
    ignored.extend(
        drop_surplus(&mut inputs, known, quantity)
            .into_iter()
            .map(|what| format!("entry {id}: {what}")),
    );
    let answer = match raised {
        Some(words) => Answer::Raised(words),
        None => answer_of(e, sources)?,
    };
    if !matches!(answer, Answer::Raised(_))
        && let Some(name) = known.inputs.iter().find(|n| !inputs.contains_key(**n))
    {
        return Err(wrong(
            "inputs",
            format!(
                "`{name}` is missing; {quantity} needs {}",
                known.inputs.join(", ")
            ),
        ));
    }
    let mut entry = Entry {
        id: id.to_string(),
        quantity: known.name.to_string(),
        config,
        inputs,
        answer,
    };
    if entry.config.layout != Layout::default() {
        arrange(&mut entry)?;
    }
    Ok(entry)
}

/// Takes out the inputs that a quantity does not read, and says so of each; `quantity` is its
/// name as it was given.
fn drop_surplus(
    inputs: &mut BTreeMap<String, Array>,
    known: &Quantity,
    quantity: &str,
) -> Vec<String> {
    let read = [known.inputs, known.optional].concat();
    let surplus = |name: &String| !name.starts_with("option.") && !read.contains(&name.as_str());
    let extra: Vec<String> = inputs.keys().filter(|n| surplus(n)).cloned().collect();
    let one = |name: String| {
        inputs.remove(&name);
        format!(
            "inputs.{name}: {quantity} does not read it (it reads {})",
            read.join(", ")
        )
    };
    extra.into_iter().map(one).collect()
}

/// Rows of an entry, by the array that has one for each.
fn rows_of(e: &Entry) -> usize {
    let leading = e.inputs.get(predict::leading(&e.quantity));
    leading.and_then(|a| a.shape.first().copied()).unwrap_or(0)
}

/// Arrays of an entry that hold K channels, with the numbers to a row: the same before they are
/// turned and after.
fn blocks(e: &Entry, k: usize) -> Vec<(String, usize)> {
    let n = rows_of(e);
    let is_run = e.quantity.starts_with("sampler.run.");
    // numbers to a row: of the noise of a run, to a row of a draw
    let width = |name: &str, a: &Array| {
        let rows = if is_run && name == "noise" {
            a.shape.iter().take(2).product()
        } else {
            n
        };
        if rows > 0 && a.data.len().is_multiple_of(rows) {
            a.data.len() / rows
        } else {
            0
        }
    };
    let state = ["u", "u0", "noise", "noise_1", "noise_2", "probe"]
        .into_iter()
        .find_map(|name| Some(width(name, e.inputs.get(name)?)));
    let all = |name: &str, w: usize| {
        w > 0
            && w.is_multiple_of(k)
            && (state == Some(w)
                || e.quantity.starts_with("kernel.") && matches!(name, "eps" | "score"))
    };
    e.inputs
        .iter()
        .map(|(name, a)| (name.clone(), width(name, a)))
        .filter(|(name, w)| !whole_array(name) && all(name, *w))
        .collect()
}

fn is_matrix(output: &str) -> bool {
    matches!(output, "matrix" | "cov" | "factor" | "inverse")
}

/// An entry of a factor by its number, `l21`, in the other order of channels: it counts from the
/// other end.
fn other_end(output: &str, k: usize) -> Option<String> {
    let digit = |c: char| {
        c.to_digit(10)
            .filter(|i| (1..=k as u32).contains(i))
            .map(|i| k as u32 + 1 - i)
    };
    let index = output
        .strip_prefix('l')?
        .chars()
        .map(digit)
        .collect::<Option<Vec<u32>>>()
        .filter(|v| v.len() == 2)?;
    Some(format!("l{}{}", index[0], index[1]))
}

/// Turns the arrays of an entry into our order of channels: x first, then v, each with its d
/// coordinates.
fn arrange(e: &mut Entry) -> Result<()> {
    let layout = e.config.layout;
    let k = e.config.process()?.channels();
    let n = rows_of(e);
    let is_run = e.quantity.starts_with("sampler.run.");
    let turned = |a: &mut Array, w: usize, leads: usize| {
        let old = a.data.clone();
        old.iter()
            .enumerate()
            .for_each(|(i, x)| a.data[i / w * w + layout.place(i % w, w, k)] = *x);
        a.shape.truncate(leads);
        a.shape.push(w);
    };
    let blocks = blocks(e, k);
    for (name, w) in &blocks {
        if let Some(a) = e.inputs.get_mut(name) {
            turned(a, *w, if is_run && name == "noise" { 2 } else { 1 });
        }
    }
    let Answer::Given(outputs) = &mut e.answer else {
        return Ok(());
    };
    // blocks are as wide as the blocks that they are made from
    let width_of_blocks = blocks.first().map(|(_, w)| *w);
    let given = std::mem::take(outputs);
    for (name, mut a) in given {
        let w = a.data.len().checked_div(n).unwrap_or(0);
        let mut own = name.clone();
        if is_matrix(&name) && layout.reversed && w == k * k {
            a.data.chunks_mut(w).for_each(<[f64]>::reverse);
        } else if !is_matrix(&name) && width_of_blocks == Some(w) && a.shape.len() > 1 {
            turned(&mut a, w, 1);
        } else if let (true, Some(other)) = (layout.reversed, other_end(&name, k)) {
            own = other;
        }
        outputs.insert(own, a);
    }
    Ok(())
}

impl Entry {
    /// The name that the file has for an output of ours.
    pub(super) fn own_output(&self, output: &str) -> String {
        let k = if self.config.layout.reversed {
            self.config.process().map_or(0, |p| p.channels())
        } else {
            0
        };
        if k > 0 { other_end(output, k) } else { None }.unwrap_or_else(|| output.to_string())
    }

    /// The column of the file's array that is our column `c` of an output that has so many.
    pub(super) fn own_column(&self, output: &str, c: usize, columns: usize) -> usize {
        let layout = self.config.layout;
        let k = self.config.process().map_or(1, |p| p.channels());
        if layout == Layout::default() {
            return c;
        }
        if is_matrix(output) {
            return if layout.reversed && columns == k * k {
                columns - 1 - c
            } else {
                c
            };
        }
        let is_block = columns > 1 && blocks(self, k).first().is_some_and(|(_, w)| *w == columns);
        (0..columns)
            .find(|i| is_block && layout.place(*i, columns, k) == c)
            .unwrap_or(c)
    }

    /// The numbers of one row of our inputs, as the file has them.
    pub(super) fn own_row(&self, inputs: BTreeMap<String, Array>) -> BTreeMap<String, Array> {
        let layout = self.config.layout;
        if layout == Layout::default() {
            return inputs;
        }
        let k = self.config.process().map_or(1, |p| p.channels());
        let blocks: BTreeMap<String, usize> = blocks(self, k).into_iter().collect();
        let back = |(name, mut a): (String, Array)| {
            if let Some(&w) = blocks.get(&name) {
                let ours = a.data.clone();
                (0..a.data.len())
                    .for_each(|i| a.data[i] = ours[i / w * w + layout.place(i % w, w, k)]);
            }
            (name, a)
        };
        inputs.into_iter().map(back).collect()
    }
}

/// Reads a manifest and its arrays. `answers` names the file with the answers to vectors, if not
/// the usual one.
///
/// # Errors
/// The file itself missing, damaged or of another schema, an id twice; the message names file and
/// field. An entry that is not as it should be takes no other with it: it is listed under
/// `unusable`.
pub fn read_answers(path: &Path, answers: Option<&Path>, limits: &Limits) -> Result<Answers> {
    read_answers_and_files(path, answers, limits).map(|(answers, _)| answers)
}

/// The same, and every file that was read: none of them may be written to.
///
/// # Errors
/// As [`read_answers`].
pub fn read_answers_and_files(
    path: &Path,
    answers: Option<&Path>,
    limits: &Limits,
) -> Result<(Answers, Vec<PathBuf>)> {
    let manifest = find_manifest(path)?;
    let mut files = vec![manifest.clone()];
    let file = manifest.display().to_string();
    let json = parse_json_within(&read_text(&manifest, limits)?, &file, limits)?;
    let ours = is_ours(&json, &file)?;
    let archives = archives(&json, &manifest, answers, ours, &mut |file| {
        files.push(file.to_path_buf());
        Archive::open(file, limits)
    })?;
    let sources = Sources {
        inputs: archives.inputs.as_ref(),
        outputs: archives.outputs.as_ref(),
        file: &file,
        answers: &archives.answers,
    };
    let mut all = read_entries(&json, &sources, ours)?;
    all.file = manifest.clone();
    all.implementation = implementation(&json);
    Ok((all, files))
}

/// What is wrong with a manifest.
fn bad(file: &str, place: &str, problem: String) -> Error {
    Error::Format {
        file: file.into(),
        place: place.to_string(),
        problem,
    }
}

/// Whether a manifest is that of our own vectors, with answers beside it, by its schema.
///
/// # Errors
/// Another schema; a field that it has not.
fn is_ours(json: &Json, file: &str) -> Result<bool> {
    const SCHEMAS: &str = "allowed: cld-answers/1 or cld-vectors/1";
    let ours = match json.get("schema").and_then(Json::as_str).unwrap_or("") {
        "cld-answers/1" => false,
        "cld-vectors/1" => true,
        "" => return Err(bad(file, "schema", format!("missing; {SCHEMAS}"))),
        other => return Err(bad(file, "schema", format!("`{other}`; {SCHEMAS}"))),
    };
    let top: &[&str] = if ours {
        MANIFEST_KEYS
    } else {
        &["schema", "implementation", "arrays", "entries", "note"]
    };
    let keys = json.as_object().into_iter().flat_map(|o| o.keys());
    match keys.into_iter().find(|k| !top.contains(&k.as_str())) {
        Some(key) => {
            let allowed = format!("unknown field; allowed: {}", top.join(", "));
            Err(bad(file, key, allowed))
        }
        None => Ok(ours),
    }
}

/// The files of arrays of a manifest.
struct Archives {
    inputs: Option<Archive>,
    /// Where the answers have a file of their own.
    outputs: Option<Archive>,
    /// The file that has the answers.
    answers: PathBuf,
}

/// Opens the files of arrays that a manifest names.
fn archives(
    json: &Json,
    manifest: &Path,
    answers: Option<&Path>,
    ours: bool,
    open: &mut dyn FnMut(&Path) -> Result<Archive>,
) -> Result<Archives> {
    let file = manifest.display().to_string();
    let folder = manifest.parent().unwrap_or(Path::new("."));
    let plain = |s: &str| {
        let mut parts = Path::new(s).components();
        parts.all(|c| matches!(c, std::path::Component::Normal(_)))
    };
    let name_of = |v: Option<&Json>, what: &str| match v {
        Some(Json::String(s)) if plain(s) => Ok(folder.join(s)),
        Some(other) => Err(bad(
            &file,
            what,
            format!("is {other}; allowed: the name of an .npz file beside the manifest"),
        )),
        None => Err(bad(
            &file,
            what,
            "missing; allowed: the name of an .npz file".into(),
        )),
    };
    let arrays = json.get("arrays");
    if !ours {
        let inputs = match arrays {
            None => None,
            v => Some(open(&name_of(v, "arrays")?)?),
        };
        if answers.is_some() {
            return Err(bad(
                &file,
                "schema",
                "cld-answers/1 holds its answers itself; --answers is for vectors (cld-vectors/1)"
                    .into(),
            ));
        }
        return Ok(Archives {
            inputs,
            outputs: None,
            answers: manifest.to_path_buf(),
        });
    }
    let inputs = open(&name_of(
        arrays.and_then(|a| a.get("inputs")),
        "arrays.inputs",
    )?)?;
    let answers = match answers {
        Some(path) => path.to_path_buf(),
        None => name_of(arrays.and_then(|a| a.get("answers")), "arrays.answers")?,
    };
    if !answers.exists() {
        return Err(Error::Io {
            path: answers.display().to_string(),
            problem: "no such file; put your answers there, or name their file with --answers"
                .into(),
        });
    }
    let outputs = open(&answers)?;
    Ok(Archives {
        inputs: Some(inputs),
        outputs: Some(outputs),
        answers,
    })
}

/// What is judged, in words: a text, or an object with name and commit.
fn implementation(json: &Json) -> String {
    match json.get("implementation") {
        Some(Json::String(s)) => s.clone(),
        Some(Json::Object(o)) => {
            let text = |k: &str| o.get(k).and_then(Json::as_str);
            let parts = [
                text("name").map(String::from),
                text("commit").map(|c| format!("commit {c}")),
            ];
            parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
        }
        _ => String::new(),
    }
}

/// Every entry of a manifest; `ours` have their outputs in a file whose other arrays are ignored.
fn read_entries(json: &Json, sources: &Sources<'_>, ours: bool) -> Result<Answers> {
    let Some(Json::Array(list)) = json.get("entries") else {
        let missing = "missing; allowed: a list of entries".into();
        return Err(bad(sources.file, "entries", missing));
    };
    let mut all = Answers {
        file: PathBuf::new(),
        implementation: String::new(),
        entries: vec![],
        unusable: vec![],
        ignored: vec![],
        not_yet: BTreeMap::new(),
    };
    let (mut ids, mut used) = (BTreeSet::new(), BTreeSet::new());
    for (i, e) in list.iter().enumerate() {
        let word = |key: &str| e.get(key).and_then(Json::as_str).map(str::to_string);
        let (id, quantity) = (
            word("id").unwrap_or_else(|| format!("entries[{i}]")),
            word("quantity").unwrap_or_default(),
        );
        if !ids.insert(id.clone()) {
            return Err(bad(
                sources.file,
                &format!("entry {id}: id"),
                "two entries of this id; ids must be unique".into(),
            ));
        }
        if ours && let Some(outputs) = e.get("outputs").and_then(Json::as_object) {
            let names = outputs.values().filter_map(Json::as_str);
            used.extend(names.map(str::to_string));
        }
        if predict::quantity(&quantity).is_none() && NOT_YET.iter().any(|p| quantity.starts_with(p))
        {
            *all.not_yet.entry(quantity).or_insert(0) += 1;
            continue;
        }
        match read_entry(e, &id, &quantity, sources, &mut all.ignored) {
            Ok(entry) => all.entries.push(entry),
            Err(error) => all.unusable.push(Unusable {
                entry: id,
                quantity,
                why: error.to_string(),
            }),
        }
    }
    let names = sources.outputs.into_iter().flat_map(Archive::names);
    let extra = names.filter(|k| !used.contains(*k));
    all.ignored.extend(extra.map(|k| {
        format!(
            "{}: {k}: no entry of the manifest has an output of this name",
            sources.answers.display()
        )
    }));
    Ok(all)
}
