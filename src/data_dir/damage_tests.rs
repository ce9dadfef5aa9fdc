//! Every file of a directory hurt in several ways, then started.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use super::testing::{busy, copy_dir, dump, settle_in, try_open};

#[test]
fn every_single_damage_is_recovered_completely_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let stopped = dir.path().join("stopped");
    let stopped_model = busy(&stopped, false).stop(&stopped);
    let crashed = dir.path().join("crashed");
    let crashed_model = busy(&crashed, true).crash();
    let (mut whole, mut refusals) = (0, 0);
    for (good, model) in [(&stopped, &stopped_model), (&crashed, &crashed_model)] {
        for file in files(good) {
            for damage in 0..8 {
                let bad = dir.path().join("bad");
                copy_dir(good, &bad);
                settle_in(&bad);
                let what = format!("{} damage {damage}", good.join(&file).display());
                hurt(&bad.join(&file), damage);
                match try_open(&bad) {
                    Ok(opened) => {
                        whole += 1;
                        assert!(dump(&opened.kv) == dump(model), "{what}: {:?}", opened.how);
                    }
                    Err(refused) => {
                        refusals += 1;
                        println!("{what}: {refused}");
                    }
                }
                fs::remove_dir_all(&bad).unwrap();
            }
        }
    }
    println!("{whole} recovered, {refusals} refused");
    assert!(whole > 4 * refusals, "{whole} recovered, {refusals} refused");
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for part in ["", "store", "journal", "images"] {
        for entry in fs::read_dir(dir.join(part)).unwrap() {
            let entry = entry.unwrap();
            if entry.path().is_file() {
                found.push(Path::new(part).join(entry.file_name()));
            }
        }
    }
    found.sort();
    found
}

/// Removes, empties, cuts or flips a byte at five places.
fn hurt(path: &Path, damage: usize) {
    let mut bytes = fs::read(path).unwrap();
    match damage {
        0 => return fs::remove_file(path).unwrap(),
        1 => bytes.clear(),
        2 => bytes.truncate(bytes.len() / 2),
        // Early bytes, too: sled's files end in zeros.
        flip if !bytes.is_empty() => {
            let at = [0, 20, 300, bytes.len() / 2, bytes.len() - 1][flip - 3] % bytes.len();
            bytes[at] ^= 0x40;
        }
        _ => {}
    }
    fs::write(path, bytes).unwrap();
}
