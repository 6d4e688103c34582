//! Bindings of the `strata:plugin` worlds. Types and imports that worlds share are generated once.
#![allow(missing_docs, unreachable_pub, unused_qualifications)]
#![allow(clippy::all, reason = "generated")]

pub(crate) mod topology {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "topology",
        imports: { default: async | trappable },
        exports: { default: async },
    });
}

pub(crate) mod source_connector {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "source-connector",
        imports: { default: async | trappable },
        exports: { default: async },
        with: {
            "strata:plugin/types": crate::bindings::topology::strata::plugin::types,
            "strata:plugin/log": crate::bindings::topology::strata::plugin::log,
        },
    });
}

pub(crate) mod sink_connector {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "sink-connector",
        imports: { default: async | trappable },
        exports: { default: async },
        with: {
            "strata:plugin/types": crate::bindings::topology::strata::plugin::types,
            "strata:plugin/log": crate::bindings::topology::strata::plugin::log,
            "strata:plugin/http": crate::bindings::source_connector::strata::plugin::http,
        },
    });
}

pub(crate) mod transform {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "transform",
        imports: { default: async | trappable },
        exports: { default: async },
        with: {
            "strata:plugin/types": crate::bindings::topology::strata::plugin::types,
            "strata:plugin/log": crate::bindings::topology::strata::plugin::log,
        },
    });
}
