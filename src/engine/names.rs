//! Interned names: tenants and task types as numbers, since keys repeat them millions of times.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::kv::{Fault, Kv};
use crate::store::keys::{self, TenantNo, TypeNo};
use crate::store::schema::{self, Tree};
use crate::store::{Order, Store};

/// Both name spaces, in memory and in the `names` tree. Numbers of tenants are given once and
/// never reused; those of task types neither, though types are forgotten.
#[derive(Debug, Default)]
pub(super) struct Names {
    tenants: HashMap<String, TenantNo>,
    tenant_names: BTreeMap<TenantNo, String>,
    kinds: HashMap<String, TypeNo>,
    kind_names: BTreeMap<TypeNo, String>,
    /// Types that somebody waits for and that have no task yet: they have no row, and go with those
    /// who wait.
    unsaved: BTreeSet<TypeNo>,
    /// The lowest number that no type has had, if the highest one was forgotten.
    next_kind: u32,
}

const TENANTS: u8 = b't';
const KINDS: u8 = b'q';

impl Names {
    pub(super) fn load<K: Kv>(store: &Store<K>) -> Result<Self, Fault> {
        let mut names = Self::default();
        let next = store.get(Tree::Meta, schema::NEXT_TYPE)?;
        names.next_kind = next.and_then(|bytes| keys::read_u32(&bytes)).unwrap_or(0);
        let mut from = Vec::new();
        loop {
            let page = store.scan(Tree::Names, &from, &[0xff], Order::Ascending, 1024)?;
            let Some((last, _)) = page.last() else { return Ok(names) };
            from.clone_from(last);
            from.push(0);
            for (key, value) in page {
                names.learn(&key, &value);
            }
        }
    }

    fn learn(&mut self, key: &[u8], value: &[u8]) {
        let (Some((space, name)), Some(number)) = (key.split_first(), keys::read_u32(value)) else {
            return;
        };
        let name = String::from_utf8_lossy(name).into_owned();
        match *space {
            TENANTS => {
                self.tenants.insert(name.clone(), TenantNo(number));
                self.tenant_names.insert(TenantNo(number), name);
            }
            KINDS => {
                self.kinds.insert(name.clone(), TypeNo(number));
                self.kind_names.insert(TypeNo(number), name);
            }
            _ => {}
        }
    }

    /// The tenant's number, given now if it has none.
    pub(super) fn tenant<K: Kv>(&mut self, store: &mut Store<K>, name: &str) -> TenantNo {
        if let Some(number) = self.tenants.get(name) {
            return *number;
        }
        let number = self.tenant_names.last_key_value().map_or(1, |(last, _)| last.0 + 1);
        self.add(store, TENANTS, name, number);
        TenantNo(number)
    }

    /// The type's number, given now if it has none.
    pub(super) fn kind<K: Kv>(&mut self, store: &mut Store<K>, name: &str) -> TypeNo {
        let known = self.kinds.get(name).copied();
        if let Some(number) = known
            && !self.unsaved.remove(&number)
        {
            return number;
        }
        let number = known.unwrap_or_else(|| self.unused_kind());
        self.add(store, KINDS, name, number.0);
        number
    }

    /// A number for a type that somebody waits for: no row, until its first task comes.
    pub(super) fn kind_for_now(&mut self, name: &str) -> TypeNo {
        let number = self.kinds.get(name).copied().unwrap_or_else(|| self.unused_kind());
        if self.kinds.insert(name.to_owned(), number).is_none() {
            self.kind_names.insert(number, name.to_owned());
            self.unsaved.insert(number);
        }
        number
    }

    fn unused_kind(&self) -> TypeNo {
        let after = self.kind_names.last_key_value().map_or(1, |(last, _)| last.0 + 1);
        TypeNo(after.max(self.next_kind))
    }

    /// Forgets a type. With `awaited` its number stays for those who wait for it.
    pub(super) fn forget_kind<K: Kv>(
        &mut self,
        store: &mut Store<K>,
        number: TypeNo,
        awaited: bool,
    ) {
        let Some(name) = self.kind_names.get(&number).cloned() else { return };
        if !self.unsaved.contains(&number) {
            store.delete(Tree::Names, &keys::name(KINDS, &name));
            // Its number may stand in rows that are kept: no other type gets it.
            self.next_kind = self.next_kind.max(self.unused_kind().0);
            store.put(
                Tree::Meta,
                schema::NEXT_TYPE.to_vec(),
                Arc::from(&self.next_kind.to_be_bytes()[..]),
            );
        }
        if awaited {
            self.unsaved.insert(number);
            return;
        }
        self.unsaved.remove(&number);
        self.kinds.remove(&name);
        self.kind_names.remove(&number);
    }

    /// Forgets the types without a row that nobody waits for any more.
    pub(super) fn forget_unsaved(&mut self, awaited: impl Fn(TypeNo) -> bool) {
        let gone: Vec<TypeNo> = self.unsaved.iter().copied().filter(|it| !awaited(*it)).collect();
        for number in gone {
            self.unsaved.remove(&number);
            if let Some(name) = self.kind_names.remove(&number) {
                self.kinds.remove(&name);
            }
        }
    }

    /// How many types have no row.
    pub(super) fn unsaved_count(&self) -> usize {
        self.unsaved.len()
    }

    fn add<K: Kv>(&mut self, store: &mut Store<K>, space: u8, name: &str, number: u32) {
        let key = keys::name(space, name);
        let value = number.to_be_bytes();
        self.learn(&key, &value);
        store.create(Tree::Names, key, Arc::from(&value[..]));
    }

    pub(super) fn known_tenant(&self, name: &str) -> Option<TenantNo> {
        self.tenants.get(name).copied()
    }

    pub(super) fn known_kind(&self, name: &str) -> Option<TypeNo> {
        self.kinds.get(name).copied()
    }

    pub(super) fn tenant_name(&self, number: TenantNo) -> &str {
        self.tenant_names.get(&number).map_or("?", String::as_str)
    }

    pub(super) fn kind_name(&self, number: TypeNo) -> &str {
        self.kind_names.get(&number).map_or("?", String::as_str)
    }

    pub(super) fn tenants(&self) -> impl Iterator<Item = (TenantNo, &str)> {
        self.tenant_names.iter().map(|(number, name)| (*number, name.as_str()))
    }

    pub(super) fn kinds(&self) -> impl Iterator<Item = (TypeNo, &str)> {
        self.kind_names.iter().map(|(number, name)| (*number, name.as_str()))
    }

    /// How many types there are that last.
    pub(super) fn kind_count(&self) -> usize {
        self.kinds.len() - self.unsaved.len()
    }
}
