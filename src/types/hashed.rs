//! The hash tables of large sets and hashes.

use crate::stdx::random::Random;
use std::collections::{HashMap, HashSet, hash_map, hash_set};

/// The members of a large set.
#[derive(Clone, Debug, Default)]
pub(super) struct Members {
    members: HashSet<Box<[u8]>, ahash::RandomState>,
}

impl Members {
    pub fn len(&self) -> usize {
        self.members.len()
    }

    pub fn contains(&self, member: &[u8]) -> bool {
        self.members.contains(member)
    }

    pub fn insert(&mut self, member: &[u8]) -> bool {
        self.members.insert(member.into())
    }

    pub fn remove(&mut self, member: &[u8]) -> bool {
        self.members.remove(member)
    }

    pub fn iter(&self) -> MembersIter<'_> {
        MembersIter(self.members.iter())
    }

    pub fn random(&self, random: &mut Random) -> Option<&[u8]> {
        self.members.iter().nth(random.below(self.len().max(1))).map(|member| &**member)
    }

    pub fn pop(&mut self, random: &mut Random, each: impl FnOnce(&[u8])) {
        if let Some(member) = self.random(random).map(<[u8]>::to_vec) {
            self.remove(&member);
            each(&member);
        }
    }

    pub fn scan(&self, _cursor: u64, _count: usize, visit: impl FnMut(&[u8])) -> u64 {
        self.iter().for_each(visit);
        0
    }
}

/// Walks the members of a large set.
pub struct MembersIter<'a>(hash_set::Iter<'a, Box<[u8]>>);

impl<'a> Iterator for MembersIter<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|member| &**member)
    }
}

/// The fields of a large hash with their values.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields {
    fields: HashMap<Box<[u8]>, Box<[u8]>, ahash::RandomState>,
}

impl Fields {
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    pub fn get(&self, field: &[u8]) -> Option<&[u8]> {
        self.fields.get(field).map(|value| &**value)
    }

    pub fn set(&mut self, field: &[u8], value: &[u8]) -> bool {
        self.fields.insert(field.into(), value.into()).is_none()
    }

    pub fn remove(&mut self, field: &[u8]) -> bool {
        self.fields.remove(field).is_some()
    }

    pub fn iter(&self) -> FieldsIter<'_> {
        FieldsIter(self.fields.iter())
    }

    pub fn random(&self, random: &mut Random) -> Option<(&[u8], &[u8])> {
        self.iter().nth(random.below(self.len().max(1)))
    }

    pub fn scan(&self, _cursor: u64, _count: usize, mut visit: impl FnMut(&[u8], &[u8])) -> u64 {
        self.iter().for_each(|(field, value)| visit(field, value));
        0
    }
}

/// Walks the fields of a large hash.
pub struct FieldsIter<'a>(hash_map::Iter<'a, Box<[u8]>, Box<[u8]>>);

impl<'a> Iterator for FieldsIter<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(field, value)| (&**field, &**value))
    }
}
