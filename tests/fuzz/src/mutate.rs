//! Mutations of an input: bounded in number, the same in each run.

/// Values that bounds are often forgotten for.
const EDGES: [u8; 8] = [0, 1, 2, 0x7f, 0x80, 0xfe, 0xff, 0x0a];

/// An endless sequence of inputs made from one.
pub struct Mutations<'a> {
    input: &'a [u8],
    state: u64,
}

impl<'a> Mutations<'a> {
    pub fn new(input: &'a [u8], seed: u64) -> Self {
        Self { input, state: seed | 1 }
    }

    /// A number below `bound`, which is not 0 (xorshift).
    fn below(&mut self, bound: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        usize::try_from(self.state >> 33).unwrap_or(0) % bound
    }

    fn mutate_once(&mut self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            bytes.push(0);
        }
        let at = self.below(bytes.len());
        match self.below(6) {
            0 => bytes[at] ^= 1 << self.below(8),
            1 => bytes[at] = EDGES[self.below(EDGES.len())],
            2 => bytes.truncate(at),
            3 => bytes.insert(at, EDGES[self.below(EDGES.len())]),
            4 => drop(bytes.remove(at)),
            _ => {
                let piece = bytes[at..].to_vec();
                bytes.extend(piece);
            }
        }
    }
}

impl Iterator for Mutations<'_> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut bytes = self.input.to_vec();
        for _ in 0..=self.below(3) {
            self.mutate_once(&mut bytes);
        }
        Some(bytes)
    }
}
