//! The plugins that come with the binary, by the names that `connector.class` and `--plugin` take.

/// A component and its name.
pub struct Shipped {
    pub name: &'static str,
    pub wasm: &'static [u8],
}

/// Every plugin that users may run by its name.
pub const PLUGINS: &[Shipped] = &[
    Shipped { name: "generator", wasm: include_bytes!("../plugins/catalog/generator/generator.wasm") },
    Shipped { name: "http-sink", wasm: include_bytes!("../plugins/catalog/http-sink/http-sink.wasm") },
    Shipped { name: "uppercase", wasm: include_bytes!("../plugins/catalog/uppercase/uppercase.wasm") },
    Shipped { name: "word-count", wasm: include_bytes!("../plugins/catalog/word-count/word-count.wasm") },
];

/// A plugin that does what none should, for the demo: it is not offered by name.
pub const MISBEHAVE: &[u8] = include_bytes!("../plugins/catalog/misbehave/misbehave.wasm");

/// The shipped plugin of this name.
pub fn find(name: &str) -> Option<&'static [u8]> {
    PLUGINS.iter().find(|plugin| plugin.name == name).map(|plugin| plugin.wasm)
}
