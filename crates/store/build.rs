//! A new file in `migrations/` must reach `sqlx::migrate!`, which reads the folder while the crate is compiled.

fn main() {
    println!("cargo::rerun-if-changed=migrations");
}
