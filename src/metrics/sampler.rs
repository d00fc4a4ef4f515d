//! Rates of the last moments, such as `instantaneous_ops_per_sec`: the mean of 16 samples taken 100 ms apart, as in
//! Redis.

/// How many samples a rate is the mean of.
const SAMPLES: usize = 16;

/// Least time between two samples, in milliseconds.
pub const INTERVAL_MS: i64 = 100;

/// What is sampled; the numbers only ever grow.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Commands.
    pub commands: u64,
    /// Bytes received.
    pub input_bytes: u64,
    /// Bytes sent.
    pub output_bytes: u64,
    /// Nanoseconds each core was busy.
    pub busy_nanoseconds: Vec<u64>,
}

/// What comes out of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rates {
    /// Commands in a second.
    pub commands: u64,
    /// Bytes received in a second.
    pub input_bytes: u64,
    /// Bytes sent in a second.
    pub output_bytes: u64,
    /// How much of the time each core was busy, in percent.
    pub busy_percent: Vec<f64>,
}

/// Keeps the samples.
#[derive(Debug, Default)]
pub struct Sampler {
    last: Option<(i64, Reading)>,
    samples: [Rates; SAMPLES],
    next: usize,
}

impl Sampler {
    /// Whether at `now` (in milliseconds) a sample is due.
    pub fn is_due(&self, now: i64) -> bool {
        self.last.as_ref().is_none_or(|(at, _)| now.saturating_sub(*at) >= INTERVAL_MS)
    }

    /// Takes a sample at `now`.
    pub fn record(&mut self, now: i64, reading: Reading) {
        if let Some((at, last)) = &self.last {
            let elapsed_ms = u64::try_from(now.saturating_sub(*at)).unwrap_or(0).max(1);
            let rate = |now: u64, before: u64| now.saturating_sub(before).saturating_mul(1000) / elapsed_ms;
            let busy = reading.busy_nanoseconds.iter().zip(&last.busy_nanoseconds);
            self.samples[self.next] = Rates {
                commands: rate(reading.commands, last.commands),
                input_bytes: rate(reading.input_bytes, last.input_bytes),
                output_bytes: rate(reading.output_bytes, last.output_bytes),
                // A nanosecond in a millisecond is a ten thousandth of a percent.
                busy_percent: busy.map(|(now, before)| rate(*now, *before) as f64 / 1e7).collect(),
            };
            self.next = (self.next + 1) % SAMPLES;
        }
        self.last = Some((now, reading));
    }

    /// The mean of the samples.
    pub fn rates(&self) -> Rates {
        let mean = |number: fn(&Rates) -> u64| self.samples.iter().map(number).sum::<u64>() / SAMPLES as u64;
        let cores = self.samples.iter().map(|sample| sample.busy_percent.len()).max().unwrap_or(0);
        Rates {
            commands: mean(|sample| sample.commands),
            input_bytes: mean(|sample| sample.input_bytes),
            output_bytes: mean(|sample| sample.output_bytes),
            busy_percent: (0..cores).map(|core| self.busy_percent(core)).collect(),
        }
    }

    /// The mean over the samples there are: a server that has just started is not half idle for that.
    fn busy_percent(&self, core: usize) -> f64 {
        let taken: Vec<f64> = self.samples.iter().filter_map(|sample| sample.busy_percent.get(core).copied()).collect();
        taken.iter().sum::<f64>() / taken.len().max(1) as f64
    }

    /// Forgets all samples, as CONFIG RESETSTAT wants it.
    pub fn reset(&mut self) {
        self.samples = Default::default();
        self.next = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_load_shows_as_its_rate() {
        let mut sampler = Sampler::default();
        assert!(sampler.is_due(0));
        for step in 0..=20 {
            let busy_nanoseconds = vec![step * 25_000_000, 0];
            let reading =
                Reading { commands: step * 500, input_bytes: step * 1000, output_bytes: step * 2000, busy_nanoseconds };
            sampler.record(step as i64 * 100, reading);
        }
        assert!(!sampler.is_due(2050) && sampler.is_due(2100));
        let expected =
            Rates { commands: 5000, input_bytes: 10_000, output_bytes: 20_000, busy_percent: vec![25.0, 0.0] };
        assert_eq!(sampler.rates(), expected);
        sampler.reset();
        assert_eq!(sampler.rates(), Rates::default());
    }

    #[test]
    fn a_clock_that_steps_back_does_no_harm() {
        let mut sampler = Sampler::default();
        sampler.record(1000, Reading { commands: 10, ..Default::default() });
        sampler.record(500, Reading { commands: 5, ..Default::default() });
        sampler.record(i64::MAX, Reading { commands: u64::MAX, ..Default::default() });
        _ = sampler.rates();
    }
}
