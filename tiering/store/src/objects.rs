use std::future::Future;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{Error, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};

use crate::error::StoreError;

/// An object store below a prefix. Cheap to clone; names are relative to the prefix.
#[derive(Debug, Clone)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    prefix: Path,
    local_root: Option<PathBuf>,
    retry: Retry,
}

/// How often, and how far apart, a call that the store did not answer is made again.
#[derive(Debug, Clone)]
pub struct Retry {
    pub attempts_max: u32,
    pub backoff_ms_min: u64,
    pub backoff_ms_max: u64,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts_max: 4, backoff_ms_min: 100, backoff_ms_max: 2_000 }
    }
}

/// Larger objects go up in parts of [`PART_BYTES`], so that a hiccup costs a part.
const SINGLE_PUT_BYTES_MAX: usize = 16 << 20;
const PART_BYTES: usize = 8 << 20;
const _: () = assert!(PART_BYTES >= 5 << 20, "S3 refuses smaller parts");

/// What came of a conditional create.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Created {
    Yes,
    /// The name is taken. By us perhaps: a create whose answer was lost.
    Exists,
}

impl Store {
    pub fn new(objects: Arc<dyn ObjectStore>, prefix: Path) -> Self {
        Self { objects, prefix, local_root: None, retry: Retry::default() }
    }

    /// The store is this local folder: what is put is flushed to stable storage, file and folders.
    pub(crate) fn with_local_root(mut self, root: PathBuf) -> Self {
        self.local_root = Some(root);
        self
    }

    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// For readers of their own, a query engine's say.
    pub fn object_store(&self) -> &Arc<dyn ObjectStore> {
        &self.objects
    }

    /// The full path, in [`Store::object_store`], of a name as the index has it.
    pub fn path(&self, name: &str) -> Path {
        self.prefix.parts().chain(Path::from(name).parts()).collect()
    }

    /// A full path's name below the prefix.
    pub(crate) fn name(&self, path: &Path) -> Option<String> {
        let parts = path.prefix_match(&self.prefix)?;
        Some(parts.collect::<Path>().to_string())
    }

    /// Puts a whole object. Doing it again with the same bytes changes nothing.
    pub(crate) async fn put(&self, name: &str, bytes: Bytes) -> Result<(), StoreError> {
        let path = self.path(name);
        self.retrying(&path, || async {
            if bytes.len() <= SINGLE_PUT_BYTES_MAX {
                self.objects.put(&path, bytes.clone().into()).await?;
            } else {
                self.put_in_parts(&path, &bytes).await?;
            }
            Ok(())
        })
        .await?;
        self.flush(name).await
    }

    async fn put_in_parts(&self, path: &Path, bytes: &Bytes) -> Result<(), Error> {
        let mut upload = self.objects.put_multipart(path).await?;
        for from in (0..bytes.len()).step_by(PART_BYTES) {
            let part = bytes.slice(from..bytes.len().min(from + PART_BYTES));
            if let Err(error) = upload.put_part(PutPayload::from(part)).await {
                // Best effort: S3 lifecycle rules take the parts of an upload that nobody ended.
                let _ = upload.abort().await;
                return Err(error);
            }
        }
        upload.complete().await?;
        Ok(())
    }

    /// Creates an object, unless the name is taken: of any number of racers one wins.
    pub(crate) async fn create(&self, name: &str, bytes: Bytes) -> Result<Created, StoreError> {
        let path = self.path(name);
        let created = self
            .retrying(&path, || async {
                let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
                match self.objects.put_opts(&path, bytes.clone().into(), options).await {
                    Ok(_) => Ok(Created::Yes),
                    Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(Created::Exists),
                    Err(error) => Err(error),
                }
            })
            .await?;
        self.flush(name).await?;
        Ok(created)
    }

    pub(crate) async fn get(&self, name: &str) -> Result<Bytes, StoreError> {
        let path = self.path(name);
        self.retrying(&path, || async { self.objects.get(&path).await?.bytes().await }).await
    }

    pub(crate) async fn get_range(&self, name: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        let path = self.path(name);
        let bytes = self.retrying(&path, || self.objects.get_range(&path, range.clone())).await?;
        if bytes.len() as u64 != range.end - range.start {
            return Err(StoreError::corrupt(name, format!("it ends before byte {}", range.end)));
        }
        Ok(bytes)
    }

    pub(crate) async fn head(&self, name: &str) -> Result<ObjectMeta, StoreError> {
        let path = self.path(name);
        self.retrying(&path, || self.objects.head(&path)).await
    }

    /// Every object below a folder.
    pub(crate) async fn list(&self, folder: &str) -> Result<Vec<ObjectMeta>, StoreError> {
        let path = self.path(folder);
        self.retrying(&path, || self.objects.list(Some(&path)).try_collect::<Vec<_>>()).await
    }

    /// Deletes an object; that it is gone already is as good.
    pub(crate) async fn delete(&self, name: &str) -> Result<(), StoreError> {
        let path = self.path(name);
        match self.retrying(&path, || self.objects.delete(&path)).await {
            Ok(()) | Err(StoreError::NotArchived { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn retrying<T, F>(&self, path: &Path, call: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut backoff_ms = self.retry.backoff_ms_min;
        let mut attempt = 1;
        loop {
            match call().await.map_err(|error| StoreError::of_object(path, error)) {
                Err(error) if error.is_retriable() && attempt < self.retry.attempts_max => {
                    tracing::debug!(%path, attempt, %error, "trying again");
                    tokio::time::sleep(Duration::from_millis(backoff_ms)).await;
                    backoff_ms = (backoff_ms * 2).min(self.retry.backoff_ms_max);
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    /// A local folder's files must survive a power cut: the log is about to let go of its copy. The library renames
    /// them into place but flushes nothing.
    async fn flush(&self, name: &str) -> Result<(), StoreError> {
        let Some(root) = self.local_root.clone() else { return Ok(()) };
        let file = root.join(name);
        let flushed = tokio::task::spawn_blocking(move || -> std::io::Result<()> {
            std::fs::File::open(&file)?.sync_all()?;
            let folders = file.ancestors().skip(1).take_while(|folder| folder.starts_with(&root));
            folders.map(std::fs::File::open).try_for_each(|folder| folder?.sync_all())
        });
        match flushed.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(StoreError::StoreUnavailable { why: format!("flushing {name}: {error}") }),
            Err(error) => Err(StoreError::StoreUnavailable { why: error.to_string() }),
        }
    }
}
