# `make formula SOURCE_URL=…` writes the address and the digest of a release into this, as target/dist/adit.rb.
class Adit < Formula
  desc "Publishes and reaches services that have no public address"
  homepage "@HOMEPAGE@"
  url "@URL@"
  sha256 "@SHA256@"
  license any_of: ["Apache-2.0", "MIT"]

  depends_on "node" => :build
  depends_on "rust" => :build

  def install
    cd "web" do
      system "npm", "ci", "--no-audit", "--no-fund"
      system "npm", "run", "build"
    end
    system "cargo", "install", *std_cargo_args(path: "crates/adit")
    generate_completions_from_executable(bin/"adit", "completions")
    system bin/"adit", "man", buildpath/"man"
    man1.install Dir["man/*.1"]
  end

  service do
    run [opt_bin/"adit", "agent"]
    keep_alive crashed: true
    log_path var/"log/adit-agent.log"
    error_log_path var/"log/adit-agent.log"
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/adit --version")
    output = shell_output("#{bin}/adit jumphost --data #{testpath}/data account add alice")
    assert_match "alice", output
  end
end
