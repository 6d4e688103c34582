use super::*;

async fn load_from(folder: &std::path::Path) -> Plugin {
    let options = HostOptions { cache_dir: Some(folder.into()), instances_max: 2, ..HostOptions::default() };
    Host::new(options).unwrap().load(Bytes::from_static(MISBEHAVE)).await.unwrap()
}

#[tokio::test]
async fn a_compiled_plugin_is_kept_and_a_damaged_one_is_compiled_again() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = load_from(folder.path()).await;
    let files: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [file] = files.as_slice() else { panic!("one file is due: {files:?}") };
    assert!(file.file_name().unwrap().to_str().unwrap().starts_with(plugin.sha256()));
    let whole = std::fs::read(file).unwrap();

    assert_eq!(
        one_record(&mut misbehaving(&load_from(folder.path()).await, "echo").await).await.unwrap().len(),
        1
    );
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 1;
    for bad in [&damaged[..], &whole[..whole.len() / 2], b""] {
        std::fs::write(file, bad).unwrap();
        assert_eq!(
            one_record(&mut misbehaving(&load_from(folder.path()).await, "echo").await).await.unwrap().len(),
            1
        );
        assert_eq!(std::fs::read(file).unwrap().len(), whole.len());
    }
}
