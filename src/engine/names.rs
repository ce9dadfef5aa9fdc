//! Interned names: tenants and task types as numbers, since keys repeat them millions of times.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::kv::{Fault, Kv, Tree};
use crate::store::keys::{self, TenantNo, TypeNo};
use crate::store::{Order, Store};

/// Both name spaces, in memory and in the `names` tree. Numbers are given once and never reused.
#[derive(Debug, Default)]
pub(super) struct Names {
    tenants: HashMap<String, TenantNo>,
    tenant_names: BTreeMap<TenantNo, String>,
    kinds: HashMap<String, TypeNo>,
    kind_names: BTreeMap<TypeNo, String>,
}

const TENANTS: u8 = b't';
const KINDS: u8 = b'q';

impl Names {
    pub(super) fn load<K: Kv>(store: &Store<K>) -> Result<Self, Fault> {
        let mut names = Self::default();
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
        if let Some(number) = self.kinds.get(name) {
            return *number;
        }
        let number = self.kind_names.last_key_value().map_or(1, |(last, _)| last.0 + 1);
        self.add(store, KINDS, name, number);
        TypeNo(number)
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

    pub(super) fn kind_count(&self) -> usize {
        self.kinds.len()
    }
}
