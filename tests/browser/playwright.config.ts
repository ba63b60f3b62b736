// Every story starts a jump host of its own, so they may run beside each other; two at a time is what CI's two cores bear.

import { defineConfig } from "@playwright/test";

export default defineConfig({
  testDir: ".",
  outputDir: "../../target/browser",
  workers: 2,
  fullyParallel: true,
  // A browser on a shared machine may be held up; one that needs its second chance is reported as flaky.
  retries: 1,
  timeout: 60_000,
  expect: { timeout: 5_000 },
  reporter: "line",
  use: {
    browserName: "chromium",
    trace: "retain-on-failure",
    launchOptions: {
      // Debian's browser: nothing is downloaded. The flags keep it from talking to anybody but us.
      executablePath: process.env.ADIT_CHROMIUM ?? "/usr/bin/chromium",
      args: [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
      ],
    },
  },
});
