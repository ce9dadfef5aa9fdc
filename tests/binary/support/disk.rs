//! What a power cut leaves of a directory: from the notes of `recorded_disk.rs`, as little as the
//! system calls promise.
//!
//! What was written to a file is on disk after `fsync` or `fdatasync` of that file, and only then;
//! what was created, renamed or removed in a directory after `fsync` of that directory, and only
//! then. `sync_file_range` promises nothing. Of the rest, a cut keeps nothing, or any blocks of the
//! files' changes and the first few changes of names.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use fastrand::Rng;

/// What disks write whole or not at all.
const BLOCK: usize = 512;

/// One thing that was done.
#[derive(Debug)]
pub(crate) enum Step {
    /// Also creates the file, if there is none of this name.
    Open {
        inode: u64,
        path: PathBuf,
        truncate: bool,
    },
    Write {
        inode: u64,
        at: usize,
        data: Vec<u8>,
    },
    Truncate {
        inode: u64,
        length: usize,
    },
    Sync {
        inode: u64,
    },
    Mkdir {
        path: PathBuf,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Remove {
        path: PathBuf,
    },
}

/// Reads notes: where each one ends, and what it says.
pub(crate) fn steps(notes: &[u8]) -> Vec<(usize, Step)> {
    let mut found = Vec::new();
    let mut rest = notes;
    while !rest.is_empty() {
        let mut take = |count: usize| {
            let (front, tail) = rest.split_at(count);
            rest = tail;
            front
        };
        let kind = take(1)[0];
        let [inode, number] = [take(8), take(8)].map(|b| u64::from_le_bytes(b.try_into().unwrap()));
        let lengths = [take(4), take(4), take(4)];
        let [path, other, data] =
            lengths.map(|b| take(u32::from_le_bytes(b.try_into().unwrap()) as usize));
        let as_path = |bytes| PathBuf::from(std::ffi::OsStr::from_bytes(bytes));
        let number = usize::try_from(number).unwrap();
        let step = match kind {
            1 => Step::Open { inode, path: as_path(path), truncate: number == 1 },
            2 => Step::Write { inode, at: number, data: data.to_vec() },
            3 => Step::Truncate { inode, length: number },
            4 => Step::Sync { inode },
            5 => Step::Mkdir { path: as_path(path) },
            6 => Step::Rename { from: as_path(path), to: as_path(other) },
            7 => Step::Remove { path: as_path(path) },
            other => panic!("a note of kind {other}"),
        };
        found.push((notes.len() - rest.len(), step));
    }
    found
}

/// How much of what nobody synced is gone.
pub(crate) enum Loss<'a> {
    /// Nothing, as after a kill.
    Nothing,
    /// All of it.
    All,
    /// Any of it.
    Some(&'a mut Rng),
}

/// A change of a file that may not be on disk yet.
enum Edit {
    Write { at: usize, data: Vec<u8> },
    Truncate { length: usize },
}

#[derive(Default)]
struct Node {
    is_dir: bool,
    inode: u64,
    on_disk: Vec<u8>,
    pending: Vec<Edit>,
}

/// A name in a directory.
type Name = (usize, PathBuf);

/// A change of names, and the directories whose sync puts it on disk.
struct Change {
    remove: Option<Name>,
    put: Option<(Name, usize)>,
    on_disk: bool,
}

/// All files and directories, as they are and as far as they are on disk.
pub(crate) struct Disk {
    nodes: Vec<Node>,
    by_inode: HashMap<u64, usize>,
    names: BTreeMap<Name, usize>,
    names_on_disk: BTreeMap<Name, usize>,
    changes: Vec<Change>,
    /// It says that it has synced files with this ending, and has not.
    lies_about: Option<&'static str>,
}

const ROOT: usize = 0;

impl Disk {
    pub(crate) fn new(lies_about: Option<&'static str>) -> Self {
        let root = Node { is_dir: true, ..Node::default() };
        Self {
            nodes: vec![root],
            by_inode: HashMap::new(),
            names: BTreeMap::new(),
            names_on_disk: BTreeMap::new(),
            changes: Vec::new(),
            lies_about,
        }
    }

    /// Does what was done.
    pub(crate) fn step(&mut self, step: &Step) {
        match step {
            Step::Open { inode, path, truncate } => {
                let node = self.find(path).unwrap_or_else(|| self.create(path, false));
                self.by_inode.insert(*inode, node);
                self.nodes[node].inode = *inode;
                if *truncate {
                    self.nodes[node].pending.push(Edit::Truncate { length: 0 });
                }
            }
            Step::Write { inode, at, data } => {
                let edit = Edit::Write { at: *at, data: data.clone() };
                let node = self.by_inode[inode];
                self.nodes[node].pending.push(edit);
            }
            Step::Truncate { inode, length } => {
                let node = self.by_inode[inode];
                self.nodes[node].pending.push(Edit::Truncate { length: *length });
            }
            Step::Sync { inode } => self.sync(self.by_inode[inode]),
            Step::Mkdir { path } => {
                // The root itself may be made; what is above it is not ours.
                if !path.as_os_str().is_empty() {
                    self.create(path, true);
                }
            }
            Step::Rename { from, to } => {
                let (from, to) = (self.name(from), self.name(to));
                let node = self.names.remove(&from).expect("what is renamed exists");
                self.names.insert(to.clone(), node);
                let put = Some((to, node));
                self.changes.push(Change { remove: Some(from), put, on_disk: false });
            }
            Step::Remove { path } => {
                let name = self.name(path);
                self.names.remove(&name).expect("what is removed exists");
                self.changes.push(Change { remove: Some(name), put: None, on_disk: false });
            }
        }
    }

    fn create(&mut self, path: &Path, is_dir: bool) -> usize {
        let (name, node) = (self.name(path), self.nodes.len());
        self.nodes.push(Node { is_dir, ..Node::default() });
        self.names.insert(name.clone(), node);
        self.changes.push(Change { remove: None, put: Some((name, node)), on_disk: false });
        node
    }

    fn sync(&mut self, node: usize) {
        if self.nodes[node].is_dir {
            let touches = |name: &Name| name.0 == node;
            for change in &mut self.changes {
                change.on_disk |= change.remove.as_ref().is_some_and(touches)
                    || change.put.as_ref().is_some_and(|(name, _)| touches(name));
            }
            let settled = self.changes.iter().take_while(|change| change.on_disk).count();
            for change in self.changes.drain(..settled) {
                change.apply(&mut self.names_on_disk);
            }
            return;
        }
        let lies = self.lies_about.is_some_and(|end| {
            let mut names = self.names.iter().filter(|(_, one)| **one == node);
            names.any(|((_, name), _)| name.to_string_lossy().ends_with(end))
        });
        if !lies {
            let file = &mut self.nodes[node];
            let pending = std::mem::take(&mut file.pending);
            pending.iter().for_each(|edit| edit.apply(&mut file.on_disk));
        }
    }

    fn name(&self, path: &Path) -> Name {
        let dir = self.find(path.parent().unwrap()).expect("its directory exists");
        (dir, path.file_name().unwrap().into())
    }

    fn find(&self, path: &Path) -> Option<usize> {
        path.iter().try_fold(ROOT, |dir, part| self.names.get(&(dir, part.into())).copied())
    }

    /// Writes what a cut at this moment leaves to `target`, which must not exist. Gives the inodes
    /// that the files had.
    pub(crate) fn cut(&self, target: &Path, loss: &mut Loss<'_>) -> BTreeMap<PathBuf, u64> {
        let mut names = self.names_on_disk.clone();
        // Names change in order: file systems write them to a log.
        let kept = match loss {
            Loss::Nothing => self.changes.len(),
            Loss::All => 0,
            Loss::Some(random) => random.usize(..=self.changes.len()),
        };
        for (number, change) in self.changes.iter().enumerate() {
            if number < kept || change.on_disk {
                change.apply(&mut names);
            }
        }
        fs::create_dir(target).unwrap();
        let mut inodes = BTreeMap::new();
        let mut dirs = vec![(ROOT, PathBuf::new())];
        while let Some((dir, path)) = dirs.pop() {
            for ((_, name), node) in names.range((dir, PathBuf::new())..(dir + 1, PathBuf::new())) {
                let path = path.join(name);
                if self.nodes[*node].is_dir {
                    fs::create_dir(target.join(&path)).unwrap();
                    dirs.push((*node, path));
                } else {
                    fs::write(target.join(&path), self.nodes[*node].left(loss)).unwrap();
                    inodes.insert(path, self.nodes[*node].inode);
                }
            }
        }
        inodes
    }
}

impl Change {
    /// Where a name before it was never on disk, nothing is there to be removed or moved.
    fn apply(&self, names: &mut BTreeMap<Name, usize>) {
        let moved = self.remove.as_ref().map(|name| names.remove(name));
        if let (Some((name, node)), None | Some(Some(_))) = (&self.put, moved) {
            names.insert(name.clone(), *node);
        }
    }
}

impl Node {
    /// The content of a file after a cut.
    fn left(&self, loss: &mut Loss<'_>) -> Vec<u8> {
        let mut content = self.on_disk.clone();
        match loss {
            Loss::All => {}
            Loss::Nothing => self.pending.iter().for_each(|edit| edit.apply(&mut content)),
            Loss::Some(random) => {
                let share = random.f64();
                for edit in &self.pending {
                    edit.apply_in_part(&mut content, &mut |_| random.f64() < share);
                }
            }
        }
        content
    }
}

impl Edit {
    fn apply(&self, content: &mut Vec<u8>) {
        self.apply_in_part(content, &mut |_| true);
    }

    /// Applies those blocks that `keep` says; where one between others is missing there are zeros.
    fn apply_in_part(&self, content: &mut Vec<u8>, keep: &mut dyn FnMut(usize) -> bool) {
        match self {
            Self::Truncate { length } => {
                if keep(0) {
                    content.resize(*length, 0);
                }
            }
            Self::Write { at, data } => {
                let (mut at, mut rest) = (*at, &data[..]);
                while !rest.is_empty() {
                    let (block, tail) = rest.split_at(rest.len().min(BLOCK - at % BLOCK));
                    if keep(at) {
                        let end = at + block.len();
                        content.resize(content.len().max(end), 0);
                        content[at..end].copy_from_slice(block);
                    }
                    (at, rest) = (at + block.len(), tail);
                }
            }
        }
    }
}
