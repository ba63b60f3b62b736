// The main job with nothing but a keyboard. What each page and dialog is like is told in every_page and every_dialog.

import { tabTo } from "../window.ts";
import { expect, PASSWORD, test } from "./story.ts";

test("sign-in, key, command, port and Remove Key with the keyboard alone", async ({ host, member, stranger }) => {
  await member("alice");
  const alice = await stranger("alice");
  const { page } = alice;
  const { keyboard } = page;
  const key = await alice.machine.makeKey();

  await page.goto(host.url);
  await tabTo(page.getByRole("textbox", { name: "Account" }));
  await keyboard.type("alice");
  await tabTo(page.getByLabel("Password", { exact: true }));
  await keyboard.type(PASSWORD);
  await keyboard.press("Enter");
  await expect(page.getByRole("heading", { level: 1, name: "Reverse Tunnel" })).toBeFocused();

  await tabTo(page.getByRole("textbox", { name: "Public key" }));
  await keyboard.insertText(key);
  await tabTo(page.getByRole("button", { name: "Save Key" }));
  await keyboard.press("Enter");
  await expect(page.getByTestId("key-badge")).toHaveText("CONFIGURED");
  // The form is gone; the focus stays in the card.
  await expect(page.getByRole("button", { name: "Add another key" })).toBeFocused();

  const keepAlive = page.getByRole("tab", { name: "Keep alive" });
  await tabTo(page.getByRole("tab", { name: "Once" }));
  await keyboard.press("ArrowRight");
  await expect(keepAlive).toBeFocused();
  await expect(page.getByTestId("command-keepalive")).toBeVisible();

  await tabTo(page.getByRole("button", { name: "Register Port" }));
  await keyboard.press("Enter");
  const dialog = page.getByRole("dialog");
  await tabTo(dialog.getByLabel("Port", { exact: true }));
  await keyboard.type("10080");
  await keyboard.press("Enter");
  await expect(page.getByTestId("registered-10080")).toBeVisible();
  await expect(page.getByRole("button", { name: "Register Port" })).toBeFocused();

  await tabTo(page.getByRole("button", { name: "Remove Key" }));
  await keyboard.press("Enter");
  await expect(dialog.getByRole("button", { name: "Cancel" })).toBeFocused();
  await keyboard.press("Escape");
  await expect(dialog).toBeHidden();
  await expect(page.getByRole("button", { name: "Remove Key" })).toBeFocused();
  await keyboard.press("Enter");
  await tabTo(dialog.getByRole("button", { name: "Remove Key" }));
  await keyboard.press("Enter");
  await expect(page.getByTestId("key-badge")).toHaveText("NOT CONFIGURED");
});
