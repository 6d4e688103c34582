//! Source and sink connectors, and transforms.

use std::cell::RefCell;

use crate::bindings::source_connector::exports::strata::plugin::source as source_wit;
use crate::bindings::topology::strata::plugin::types;
use crate::bindings::transform::exports::strata::plugin::transformer as transform_wit;
use crate::{BatchHeader, Config, Descriptor, Error, Records, log};

pub use source_wit::{Position, SourceBatch};
pub use transform_wit::Transformed;

/// Brings records in. Export it with `export_source!`.
pub trait Source: Sized + 'static {
    fn describe() -> Descriptor;

    /// The configs of at most `tasks_max` tasks. One task with the whole config, unless this says otherwise.
    fn split(config: Config, tasks_max: u32) -> Result<Vec<Config>, Error> {
        let _ = tasks_max;
        Ok(vec![config])
    }

    /// Goes on from the stored positions; none of its own: from the beginning.
    fn start(config: &Config, positions: Vec<Position>) -> Result<Self, Error>;

    /// What there is now, at most about `records_max` records. Nothing: ask again later.
    fn poll(&mut self, records_max: u32) -> Result<Vec<SourceBatch>, Error>;
}

/// Takes records out. Export it with `export_sink!`.
pub trait Sink: Sized + 'static {
    fn describe() -> Descriptor;

    fn start(config: &Config) -> Result<Self, Error>;

    /// Success: the records are delivered, and do not come again.
    fn put(&mut self, header: &BatchHeader, records: Records<'_>) -> Result<(), Error>;
}

/// Changes records on their way. Export it with `export_transform!`.
pub trait Transform: Sized + 'static {
    fn describe() -> Descriptor;

    fn start(config: &Config) -> Result<Self, Error>;

    fn apply(&mut self, header: &BatchHeader, records: Records<'_>) -> Result<Vec<Transformed>, Error>;
}

/// Makes a type that implements [`Source`] the plugin.
#[macro_export]
macro_rules! export_source {
    ($source:ty) => {
        const _: () = {
            struct Component;

            std::thread_local! {
                static CELL: $crate::exports::SourceCell<$source> = const { $crate::exports::SourceCell::new() };
            }

            use $crate::bindings::source_connector::exports::strata::plugin::source as wit;

            impl wit::Guest for Component {
                fn describe() -> wit::Descriptor {
                    $crate::exports::SourceCell::<$source>::describe()
                }

                fn split(config: wit::Config, tasks_max: u32) -> Result<Vec<wit::Config>, wit::Error> {
                    $crate::exports::SourceCell::<$source>::split(config, tasks_max)
                }

                fn init(config: wit::Config, positions: Vec<wit::Position>) -> Result<(), wit::Error> {
                    CELL.with(|cell| cell.init(config, positions))
                }

                fn poll(records_max: u32) -> Result<Vec<wit::SourceBatch>, wit::Error> {
                    CELL.with(|cell| cell.poll(records_max))
                }
            }

            $crate::bindings::source_connector::export_source_interface!(
                Component with_types_in $crate::bindings::source_connector
            );
        };
    };
}

/// Makes a type that implements [`Sink`] the plugin.
#[macro_export]
macro_rules! export_sink {
    ($sink:ty) => {
        const _: () = {
            struct Component;

            std::thread_local! {
                static CELL: $crate::exports::SinkCell<$sink> = const { $crate::exports::SinkCell::new() };
            }

            use $crate::bindings::sink_connector::exports::strata::plugin::sink as wit;

            impl wit::Guest for Component {
                fn describe() -> wit::Descriptor {
                    $crate::exports::SinkCell::<$sink>::describe()
                }

                fn init(config: wit::Config) -> Result<(), wit::Error> {
                    CELL.with(|cell| cell.init(config))
                }

                fn put(header: wit::BatchHeader, records: Vec<u8>) -> Result<(), wit::Error> {
                    CELL.with(|cell| cell.put(&header, &records))
                }
            }

            $crate::bindings::sink_connector::export_sink_interface!(
                Component with_types_in $crate::bindings::sink_connector
            );
        };
    };
}

/// Makes a type that implements [`Transform`] the plugin.
#[macro_export]
macro_rules! export_transform {
    ($transform:ty) => {
        const _: () = {
            struct Component;

            std::thread_local! {
                static CELL: $crate::exports::TransformCell<$transform> =
                    const { $crate::exports::TransformCell::new() };
            }

            use $crate::bindings::transform::exports::strata::plugin::transformer as wit;

            impl wit::Guest for Component {
                fn describe() -> wit::Descriptor {
                    $crate::exports::TransformCell::<$transform>::describe()
                }

                fn init(config: wit::Config) -> Result<(), wit::Error> {
                    CELL.with(|cell| cell.init(config))
                }

                fn apply(
                    header: wit::BatchHeader,
                    records: Vec<u8>,
                ) -> Result<Vec<wit::Transformed>, wit::Error> {
                    CELL.with(|cell| cell.apply(&header, &records))
                }
            }

            $crate::bindings::transform::export_transformer!(
                Component with_types_in $crate::bindings::transform
            );
        };
    };
}

/// The component's one instance of the plugin's type.
struct Cell<T>(RefCell<Option<T>>);

impl<T> Cell<T> {
    fn start(&self, start: impl FnOnce() -> Result<T, Error>) -> Result<(), types::Error> {
        log::flushed(|| {
            self.0.replace(Some(start()?));
            Ok(())
        })
    }

    fn call<R>(&self, call: impl FnOnce(&mut T) -> Result<R, Error>) -> Result<R, types::Error> {
        log::flushed(|| {
            let mut plugin = self.0.borrow_mut();
            let plugin = plugin.as_mut().ok_or_else(|| Error::stop("called before init"))?;
            Ok(call(plugin)?)
        })
    }
}

#[doc(hidden)]
pub struct SourceCell<T>(Cell<T>);

#[doc(hidden)]
pub struct SinkCell<T>(Cell<T>);

#[doc(hidden)]
pub struct TransformCell<T>(Cell<T>);

type Pairs = Vec<(String, String)>;

#[expect(clippy::new_without_default, reason = "const, for a thread local")]
impl<T: Source> SourceCell<T> {
    pub const fn new() -> Self {
        SourceCell(Cell(RefCell::new(None)))
    }

    pub fn describe() -> types::Descriptor {
        log::flushed(|| T::describe().0)
    }

    pub fn split(config: Pairs, tasks_max: u32) -> Result<Vec<Pairs>, types::Error> {
        log::flushed(|| {
            let configs = T::split(Config::new(config, &T::describe()), tasks_max)?;
            Ok(configs.into_iter().map(Config::into_pairs).collect())
        })
    }

    pub fn init(&self, config: Pairs, positions: Vec<Position>) -> Result<(), types::Error> {
        self.0.start(|| T::start(&Config::new(config, &T::describe()), positions))
    }

    pub fn poll(&self, records_max: u32) -> Result<Vec<SourceBatch>, types::Error> {
        self.0.call(|source| source.poll(records_max))
    }
}

#[expect(clippy::new_without_default, reason = "const, for a thread local")]
impl<T: Sink> SinkCell<T> {
    pub const fn new() -> Self {
        SinkCell(Cell(RefCell::new(None)))
    }

    pub fn describe() -> types::Descriptor {
        log::flushed(|| T::describe().0)
    }

    pub fn init(&self, config: Pairs) -> Result<(), types::Error> {
        self.0.start(|| T::start(&Config::new(config, &T::describe())))
    }

    pub fn put(&self, header: &BatchHeader, records: &[u8]) -> Result<(), types::Error> {
        self.0.call(|sink| sink.put(header, Records::new(records, header.base_offset, header.base_timestamp)))
    }
}

#[expect(clippy::new_without_default, reason = "const, for a thread local")]
impl<T: Transform> TransformCell<T> {
    pub const fn new() -> Self {
        TransformCell(Cell(RefCell::new(None)))
    }

    pub fn describe() -> types::Descriptor {
        log::flushed(|| T::describe().0)
    }

    pub fn init(&self, config: Pairs) -> Result<(), types::Error> {
        self.0.start(|| T::start(&Config::new(config, &T::describe())))
    }

    pub fn apply(&self, header: &BatchHeader, records: &[u8]) -> Result<Vec<Transformed>, types::Error> {
        self.0.call(|transform| {
            transform.apply(header, Records::new(records, header.base_offset, header.base_timestamp))
        })
    }
}
