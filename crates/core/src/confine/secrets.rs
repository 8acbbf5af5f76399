//! What is likely to hold keys, by its name.

/// Directories of the home directory that hold keys or give rights, and the files with them.
pub(crate) const SECRETS_OF_HOME: &[&str] = &[
    ".ssh",
    ".gnupg",
    ".aws",
    ".azure",
    ".kube",
    ".docker",
    ".config/gcloud",
    ".config/git/credentials",
    ".config/gh",
    ".config/hub",
    ".config/meanwhile",
    // The rules that were remembered, among others.
    ".local/state/meanwhile",
    ".config/op",
    ".config/rclone",
    ".password-store",
    ".local/share/keyrings",
    ".cargo/credentials",
    ".cargo/credentials.toml",
    ".m2/settings.xml",
    ".m2/settings-security.xml",
    ".gradle/gradle.properties",
    ".bundle/config",
    ".vault-token",
    ".terraform.d",
    ".mozilla",
    ".config/google-chrome",
    ".config/chromium",
    ".gem/credentials",
    ".local/share/uv/credentials",
    ".pub-cache/credentials.json",
    ".dotnet/corefx/cryptography/x509stores",
];

/// Files that hold keys wherever they are.
const SECRET_NAMES: &[&str] = &[
    ".env",
    ".envrc",
    ".netrc",
    "_netrc",
    ".npmrc",
    ".pypirc",
    ".pgpass",
    ".my.cnf",
    ".htpasswd",
    ".git-credentials",
    "id_rsa",
    "id_dsa",
    "id_ecdsa",
    "id_ed25519",
    "master.key",
];
const SECRET_EXTENSIONS: &[&str] = &["pem", "key", "p12", "pfx", "jks", "keystore", "kdbx", "ppk"];
/// `.env.example` and its like are there to be read.
const EXAMPLES: &[&str] = &["example", "sample", "template", "dist", "defaults", "schema"];

/// Whether a file of this name is likely to hold keys.
pub(crate) fn is_secret_name(name: &str) -> bool {
    // Some file systems know no difference between capital letters and small ones.
    let name = name.to_lowercase();
    let extension = name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()).map(|(_, it)| it);
    if extension.is_some_and(|it| EXAMPLES.contains(&it)) {
        return false;
    }
    SECRET_NAMES.contains(&name.as_str())
        || name.starts_with(".env.")
        || extension.is_some_and(|it| SECRET_EXTENSIONS.contains(&it))
}
