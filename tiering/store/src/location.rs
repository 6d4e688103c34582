use std::path::{Path as FilePath, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ClientOptions, RetryConfig};
use url::Url;

use crate::error::StoreError;
use crate::objects::Store;

/// How long one request to S3 may take, and a connection attempt.
const REQUEST_TIMEOUT_MS: u64 = 30_000;
const CONNECT_TIMEOUT_MS: u64 = 5_000;
/// The library's own retries, for the odd hiccup; longer outages are the archiver's to wait out.
const REQUEST_RETRIES_MAX: usize = 2;
const REQUEST_RETRY_TIMEOUT_MS: u64 = 10_000;

/// Where the archive lives: `s3://BUCKET/PREFIX` or `file:///DIR`.
///
/// S3's credentials, region and endpoint come from the usual `AWS_*` variables (`AWS_ENDPOINT_URL` and
/// `AWS_ALLOW_HTTP` for servers other than Amazon's). The server must honour `If-None-Match: *`; Amazon S3, MinIO,
/// SeaweedFS and versitygw do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObjectStoreUrl {
    S3 { bucket: String, prefix: Path },
    File(PathBuf),
}

impl ObjectStoreUrl {
    /// A local folder, made when it is opened: the default, below a broker's data folder.
    pub fn local(dir: impl Into<PathBuf>) -> Self {
        Self::File(dir.into())
    }

    /// Makes ready to use it. Nothing is asked of an S3 server yet.
    pub fn open(&self) -> Result<Store, StoreError> {
        let failed =
            |why: &dyn std::fmt::Display| StoreError::Url { url: self.to_string(), why: why.to_string() };
        match self {
            Self::File(dir) => {
                std::fs::create_dir_all(dir).map_err(|e| failed(&e))?;
                let files = LocalFileSystem::new_with_prefix(dir).map_err(|e| failed(&e))?;
                let root = std::fs::canonicalize(dir).map_err(|e| failed(&e))?;
                Ok(Store::new(Arc::new(files), Path::default()).with_local_root(root))
            }
            Self::S3 { bucket, prefix } => {
                let s3 = AmazonS3Builder::from_env()
                    .with_bucket_name(bucket)
                    .with_client_options(client_options())
                    .with_retry(RetryConfig {
                        max_retries: REQUEST_RETRIES_MAX,
                        retry_timeout: Duration::from_millis(REQUEST_RETRY_TIMEOUT_MS),
                        ..RetryConfig::default()
                    })
                    .build()
                    .map_err(|e| failed(&e))?;
                Ok(Store::new(Arc::new(s3), prefix.clone()))
            }
        }
    }
}

impl FromStr for ObjectStoreUrl {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        let failed = |why: &str| StoreError::Url { url: text.to_owned(), why: why.to_owned() };
        let url = Url::parse(text).map_err(|e| failed(&e.to_string()))?;
        match url.scheme() {
            "s3" => {
                let bucket = url.host_str().filter(|host| !host.is_empty());
                let bucket = bucket.ok_or_else(|| failed("the bucket is missing"))?.to_owned();
                let prefix = Path::from_url_path(url.path()).map_err(|e| failed(&e.to_string()))?;
                Ok(Self::S3 { bucket, prefix })
            }
            "file" => {
                let dir = url.to_file_path().map_err(|()| failed("it is not an absolute local path"))?;
                if dir == FilePath::new("/") {
                    return Err(failed("the folder is missing"));
                }
                Ok(Self::File(dir))
            }
            other => Err(failed(&format!("scheme '{other}' is neither s3 nor file"))),
        }
    }
}

impl std::fmt::Display for ObjectStoreUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
            Self::File(dir) => write!(f, "file://{}", dir.display()),
        }
    }
}

/// As the environment says (`AWS_ALLOW_HTTP`), with our time limits.
fn client_options() -> ClientOptions {
    let allow_http = std::env::var("AWS_ALLOW_HTTP").is_ok_and(|value| value.eq_ignore_ascii_case("true"));
    ClientOptions::new()
        .with_allow_http(allow_http)
        .with_timeout(Duration::from_millis(REQUEST_TIMEOUT_MS))
        .with_connect_timeout(Duration::from_millis(CONNECT_TIMEOUT_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ObjectStoreUrl, StoreError> {
        text.parse()
    }

    #[test]
    fn a_bucket_may_have_a_prefix() {
        let url = parse("s3://lake/kafka/prod").expect("an address");
        assert_eq!(url, ObjectStoreUrl::S3 { bucket: "lake".into(), prefix: Path::from("kafka/prod") });
        assert!(parse("s3://lake").is_ok());
    }

    #[test]
    fn a_folder_is_absolute() {
        assert_eq!(parse("file:///var/archive").expect("an address"), ObjectStoreUrl::local("/var/archive"));
    }

    #[test]
    fn an_address_that_cannot_be_used_says_why() {
        for (text, why) in [
            ("lake", "relative URL"),
            ("s3:///prefix", "bucket"),
            ("gs://lake", "neither s3 nor file"),
            ("file://host/dir", "absolute"),
            ("file:///", "folder"),
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
