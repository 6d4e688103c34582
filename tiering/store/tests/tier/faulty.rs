//! An object store with faults on order.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    /// A plain put.
    Put,
    /// A put on the condition that the name is free.
    Create,
    Get,
    Head,
    Delete,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing happens, and the caller hears of it.
    Fails,
    /// It happens, but the caller hears that it failed.
    LosesAnswer,
    /// It happens twice, and the caller hears of the second time.
    HappensTwice,
}

#[derive(Debug, Default)]
pub(crate) struct Faulty {
    inner: InMemory,
    orders: Mutex<Vec<(Op, Fault)>>,
    down: AtomicBool,
    gets: AtomicUsize,
    bytes_got: AtomicUsize,
}

impl Faulty {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The next `op` goes wrong.
    pub(crate) fn order(&self, op: Op, fault: Fault) {
        self.orders.lock().expect("no panic").push((op, fault));
    }

    /// Orders that met no such operation are void.
    pub(crate) fn forget_orders(&self) {
        self.orders.lock().expect("no panic").clear();
    }

    pub(crate) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::Relaxed);
    }

    /// Ranged and whole reads so far, and their bytes.
    pub(crate) fn reads(&self) -> (usize, usize) {
        (self.gets.load(Ordering::Relaxed), self.bytes_got.load(Ordering::Relaxed))
    }

    /// The names of all objects below a folder, as they truly are.
    pub(crate) async fn names(&self, folder: &str) -> Vec<String> {
        let metas: Vec<ObjectMeta> =
            self.inner.list(Some(&Path::from(folder))).try_collect().await.expect("memory lists");
        let mut names: Vec<String> = metas.into_iter().map(|meta| meta.location.to_string()).collect();
        names.sort();
        names
    }

    /// Flips a bit of an object, behind everyone's back.
    pub(crate) async fn flip(&self, name: &str, at: usize) {
        let path = Path::from(name);
        let mut bytes =
            self.inner.get(&path).await.expect("it is there").bytes().await.expect("bytes").to_vec();
        bytes[at] ^= 1;
        self.inner.put(&path, bytes.into()).await.expect("memory takes it");
    }

    pub(crate) async fn vanish(&self, name: &str) {
        self.inner.delete(&Path::from(name)).await.expect("memory deletes");
    }

    fn fault(&self, op: Op) -> Result<Option<Fault>> {
        if self.down.load(Ordering::Relaxed) {
            return Err(refused());
        }
        let mut orders = self.orders.lock().expect("no panic");
        let found = orders.iter().position(|(ordered, _)| *ordered == op).map(|at| orders.remove(at).1);
        if found == Some(Fault::Fails) { Err(refused()) } else { Ok(found) }
    }
}

fn refused() -> Error {
    Error::Generic { store: "faulty", source: "503 slow down".into() }
}

fn lost<T>(fault: Option<Fault>, outcome: Result<T>) -> Result<T> {
    if fault == Some(Fault::LosesAnswer) { Err(refused()) } else { outcome }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty")
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let op = if options.mode == PutMode::Create { Op::Create } else { Op::Put };
        let fault = self.fault(op)?;
        if fault == Some(Fault::HappensTwice) {
            self.inner.put_opts(path, payload.clone(), options.clone()).await?;
        }
        lost(fault, self.inner.put_opts(path, payload, options).await)
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.fault(Op::Put)?;
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        let head = options.head;
        let fault = self.fault(if head { Op::Head } else { Op::Get })?;
        let outcome = lost(fault, self.inner.get_opts(path, options).await)?;
        if !head {
            self.gets.fetch_add(1, Ordering::Relaxed);
            let bytes = outcome.range.end - outcome.range.start;
            self.bytes_got.fetch_add(bytes as usize, Ordering::Relaxed);
        }
        Ok(outcome)
    }

    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.fault(Op::Get)?;
        self.inner.get_ranges(path, ranges).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        match self.fault(Op::Delete) {
            Ok(_) => self.inner.delete_stream(paths),
            Err(error) => futures::stream::once(async { Err(error) }).boxed(),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.fault(Op::Get) {
            Ok(_) => self.inner.list(prefix),
            Err(error) => futures::stream::once(async { Err(error) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
