//! What clients send: commands of every kind, alone and in transactions, with times to live that end while they run.

use crate::generate::{Command, Family, Gen, cmd};

const KINDS: [Family; 5] = [Family::Strings, Family::Lists, Family::Sets, Family::Hashes, Family::Keys];

pub struct Program(Gen);

impl Program {
    pub fn new(seed: u64) -> Self {
        Self(Gen::new(seed))
    }

    /// What a client sends in one go.
    pub fn next(&mut self, now: i64) -> Vec<Command> {
        if self.0.chance(25) {
            let count = 1 + self.0.below(5);
            let commands = (0..count).map(|_| self.command(now)).collect::<Vec<_>>();
            return [vec![cmd!["MULTI"]], commands, vec![cmd!["EXEC"]]].concat();
        }
        if self.0.chance(10) {
            // They go to other shards together.
            return (0..2 + self.0.below(5)).map(|_| self.split_command()).collect();
        }
        (0..1 + self.0.below(3)).map(|_| self.command(now)).collect()
    }

    fn split_command(&mut self) -> Command {
        let g = &mut self.0;
        match g.below(5) {
            0 => [cmd!["DEL"], g.keys(Family::Keys, 3)].concat(),
            1 => [cmd!["MGET"], g.keys(Family::Strings, 3)].concat(),
            2 => [cmd!["UNLINK"], g.keys(Family::Keys, 2)].concat(),
            _ => [cmd!["MSET"], (0..3).flat_map(|_| [g.key(Family::Strings), g.value()]).collect()].concat(),
        }
    }

    fn command(&mut self, now: i64) -> Command {
        let g = &mut self.0;
        let soon = (1 + g.below(400)).to_string();
        let then = (now - 100 + g.below(400) as i64).to_string();
        let key = g.any_key();
        match g.below(30) {
            0 => cmd!["PEXPIRE", key, soon],
            1 => cmd!["PEXPIREAT", key, then],
            2 => cmd!["SET", key, g.value(), "PX", soon],
            3 => cmd!["SET", key, g.value(), "PXAT", then],
            4 => cmd!["GETEX", g.key(Family::Strings), "PX", soon],
            5 => cmd!["PSETEX", key, soon, g.value()],
            6 => [cmd!["MSET"], (0..3).flat_map(|_| [g.key(Family::Strings), g.value()]).collect()].concat(),
            7 => [cmd!["DEL"], g.keys(Family::Keys, 3)].concat(),
            8 => cmd!["SPOP", g.key(Family::Sets), g.pick(&["1", "2", "5"])],
            9 => cmd!["SMOVE", g.key(Family::Sets), g.key(Family::Sets), g.member()],
            10 => cmd!["LMOVE", g.key(Family::Lists), g.key(Family::Lists), g.pick(&["LEFT", "RIGHT"]), "LEFT"],
            11 => cmd!["BLPOP", g.key(Family::Lists), g.key(Family::Lists), "0.05"],
            12 => cmd!["BLMOVE", g.key(Family::Lists), g.key(Family::Lists), "RIGHT", "LEFT", "0.05"],
            13 => cmd!["BLMPOP", "0.05", "2", g.key(Family::Lists), g.key(Family::Lists), "LEFT", "COUNT", "2"],
            14 => cmd!["BRPOPLPUSH", g.key(Family::Lists), g.key(Family::Lists), "0.05"],
            _ => {
                let kind = g.pick(&KINDS);
                g.command(kind)
            }
        }
    }
}
