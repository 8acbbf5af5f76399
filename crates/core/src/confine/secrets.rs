//! Which names indicate that a file holds keys.

/// Directories and files in the home directory that hold keys or grant access.
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
    // Holds the remembered permission rules, among others.
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

/// Names of files that hold keys in any directory.
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
/// `.env.example` and the like are meant to be read.
const EXAMPLES: &[&str] = &["example", "sample", "template", "dist", "defaults", "schema"];

/// Whether a file of this name is likely to hold keys.
pub(crate) fn is_secret_name(name: &str) -> bool {
    // Some file systems are case-insensitive.
    let name = name.to_lowercase();
    let extension = name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()).map(|(_, it)| it);
    if extension.is_some_and(|it| EXAMPLES.contains(&it)) {
        return false;
    }
    SECRET_NAMES.contains(&name.as_str())
        || name.starts_with(".env.")
        || extension.is_some_and(|it| SECRET_EXTENSIONS.contains(&it))
}
