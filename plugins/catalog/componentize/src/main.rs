//! `componentize MODULE.wasm COMPONENT.wasm`: wraps a core module into a component, by the world that its custom section
//! names (what `wasm32-wasip2` does in its linker).

use std::error::Error;

use wit_component::ComponentEncoder;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(module), Some(component)) = (arguments.next(), arguments.next()) else {
        return Err("usage: componentize MODULE.wasm COMPONENT.wasm".into());
    };
    let module = std::fs::read(module)?;
    let encoded = ComponentEncoder::default().validate(true).module(&module)?.encode()?;
    std::fs::write(component, encoded)?;
    Ok(())
}
