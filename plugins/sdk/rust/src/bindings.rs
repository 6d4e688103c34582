//! Bindings of the `strata:plugin` worlds. The types of all worlds are the first one's.
#![allow(unsafe_code, unreachable_pub, missing_docs, unused_qualifications)]
#![allow(clippy::all, reason = "generated: the boundary to the host is C calls and raw memory")]

pub mod topology {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "topology",
        pub_export_macro: true,
        default_bindings_module: "strata_plugin_sdk::bindings::topology",
        export_macro_name: "export_processor",
        generate_all,
    });
}

pub mod source_connector {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "source-connector",
        pub_export_macro: true,
        default_bindings_module: "strata_plugin_sdk::bindings::source_connector",
        export_macro_name: "export_source_interface",
        with: {
            "strata:plugin/types@0.1.0": crate::bindings::topology::strata::plugin::types,
            "strata:plugin/log@0.1.0": crate::bindings::topology::strata::plugin::log,
        },
        generate_all,
    });
}

pub mod sink_connector {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "sink-connector",
        pub_export_macro: true,
        default_bindings_module: "strata_plugin_sdk::bindings::sink_connector",
        export_macro_name: "export_sink_interface",
        with: {
            "strata:plugin/types@0.1.0": crate::bindings::topology::strata::plugin::types,
            "strata:plugin/log@0.1.0": crate::bindings::topology::strata::plugin::log,
            "strata:plugin/http@0.1.0": crate::bindings::source_connector::strata::plugin::http,
        },
        generate_all,
    });
}

pub mod transform {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "transform",
        pub_export_macro: true,
        default_bindings_module: "strata_plugin_sdk::bindings::transform",
        export_macro_name: "export_transformer",
        with: {
            "strata:plugin/types@0.1.0": crate::bindings::topology::strata::plugin::types,
            "strata:plugin/log@0.1.0": crate::bindings::topology::strata::plugin::log,
        },
        generate_all,
    });
}
