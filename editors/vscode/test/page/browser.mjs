// Acts as a person at a window of VS Code: Chromium on the server's page, and a few actions.
import { chromium } from 'playwright-core';
import { CHROMIUM } from '../chromium.mjs';

const TIMEOUT_MS = 20_000;
/** The timeout for a window on a busy machine. */
const START_TIMEOUT_MS = 90_000;

export async function launch() {
  return chromium.launch(CHROMIUM);
}

export class Window {
  constructor(page, server) {
    this.page = page;
    this.server = server;
  }

  /**
   * Opens a window on the server's workspace and waits until the extension is there. Each window is
   * a browser profile of its own: once one of two windows in the same profile was closed, an update
   * of the service worker they share never ends in this Chromium, and VS Code's page around a
   * webview waits for that update before it makes the frame for ours.
   */
  static async open(browser, server, viewport = { width: 1280, height: 800 }) {
    const window = await Window.at(browser, server, `folder=${server.workspace}`, viewport);
    await window.ready();
    return window;
  }

  /** Opens a window without a folder, which shows little of the extension. */
  static async empty(browser, server) {
    const window = await Window.at(browser, server, 'ew=true', { width: 1280, height: 800 });
    await window.page.locator('.statusbar-item').first().waitFor({ timeout: START_TIMEOUT_MS });
    return window;
  }

  static async at(browser, server, query, viewport) {
    const context = await browser.newContext({ viewport });
    const page = await context.newPage();
    page.setDefaultTimeout(TIMEOUT_MS);
    await page.goto(`http://127.0.0.1:${server.port}/?${query}`, { timeout: START_TIMEOUT_MS });
    return new Window(page, server);
  }

  async ready() {
    // The status bar is empty while no task runs.
    await this.page
      .locator('.activitybar .action-item a[aria-label^="Meanwhile"]')
      .first()
      .waitFor({ timeout: START_TIMEOUT_MS });
  }

  async close() {
    await this.page.context().close();
  }

  async reload() {
    await this.page.reload();
    await this.ready();
  }

  /** Hides the list, as when a person works on something else. */
  async hideTasks() {
    await this.command('View: Show Explorer');
    await this.tree().waitFor({ state: 'hidden' });
  }

  /** Simulates that the person leaves the window or comes back. */
  async focused(yes) {
    await this.page.evaluate((yes) => {
      document.hasFocus = () => yes;
      window.dispatchEvent(new Event(yes ? 'focus' : 'blur'));
    }, yes);
  }

  /** The text of the status bar item; empty if hidden. */
  statusText() {
    return this.status()
      .innerText({ timeout: 500 })
      .catch(() => '');
  }

  /** The extension's status bar item. */
  status() {
    return this.page.locator('.statusbar-item[id*="meanwhile.status"]');
  }

  /** Runs a command of the palette by its title. */
  async command(title) {
    // The palette sorts by use and similarity; match exactly this title.
    const name = title.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
    const row = this.page
      .locator('.quick-input-list .monaco-list-row')
      .filter({
        has: this.page.locator('.monaco-icon-label', { hasText: new RegExp(`^${name}$`) }),
      })
      .first();
    await this.patiently(async (timeout) => {
      await this.page.keyboard.press('F1');
      await this.input().fill(`>${title}`, { timeout });
      await row.click({ timeout });
    });
  }

  /** Runs a shell command in the background, by hand. */
  async run(command) {
    await this.patiently(async (timeout) => {
      await this.command('Meanwhile: Run Command in Background...');
      const box = this.page.locator('.quick-input-title', { hasText: 'Run in the background' });
      await box.waitFor({ timeout });
      await this.input().fill(command, { timeout });
      await this.page
        .locator('.quick-input-list .monaco-list-row.focused', { hasText: command.slice(0, 30) })
        .waitFor({ timeout });
    });
    await this.page.keyboard.press('Enter');
  }

  input() {
    return this.page.locator('.quick-input-widget:visible input[type=text]');
  }

  /**
   * Retries, as a person would: a toast or a view that appears late may take the focus.
   */
  async patiently(work) {
    for (let times = 0; times < 3; times++) {
      const done = await work(7_000).then(
        () => true,
        () => false,
      );
      if (done) return;
      await this.page.keyboard.press('Escape');
    }
    await work(20_000);
  }

  async showTasks() {
    await this.command('Meanwhile: Focus on Background Tasks View');
    // An empty list is hidden, and a text is shown instead.
    await this.tree().waitFor({ state: 'attached' });
  }

  tree() {
    return this.page.locator('.pane-body .monaco-list[aria-label*="Background Tasks"]');
  }

  /** A line of the list, by its text. */
  row(text) {
    return this.tree().locator('.monaco-list-row', { hasText: text }).first();
  }

  /** Clicks an action at the end of a line. */
  async act(text, action) {
    await this.row(text).hover();
    await this.row(text).locator(`.action-label[aria-label^="${action}"]`).click();
  }

  /** Opens the output of a line; tries again if the list was redrawn under the pointer. */
  async output(text, says) {
    for (let times = 0; times < 3; times++) {
      await this.row(text).click();
      const seen = await this.terminal(says)
        .waitFor({ timeout: 8_000 })
        .then(
          () => true,
          () => false,
        );
      if (seen) return;
    }
    await this.terminal(says).waitFor();
  }

  toast(text) {
    return this.page.locator('.notification-toast', { hasText: text }).first();
  }

  /** The text of the terminal that is shown. */
  terminal(text) {
    return this.page.locator('.terminal-wrapper.active .xterm-rows:visible', { hasText: text });
  }

  /** The page inside the timeline's view, which is in the panel below. */
  timeline() {
    return inside(
      this.page.frameLocator(
        '.webview-overlay-content:not(.webview-overlay-outer-top) iframe.webview.ready',
      ),
    );
  }

  /** The page inside the chat's view, which is in the secondary side bar. */
  chat() {
    return inside(this.page.frameLocator('.webview-overlay-outer-top iframe.webview.ready'));
  }

  async showTimeline() {
    await this.command('Meanwhile: Focus on Timeline View');
    await this.timeline().locator('main').waitFor();
  }

  async showChat() {
    await this.command('Meanwhile: Focus on Agent View');
    await this.chat().locator('main').waitFor();
  }

  async hideChat() {
    await this.command('View: Hide Secondary Side Bar');
    await this.chat().locator('main').waitFor({ state: 'detached' });
  }

  /** The longest time between two frames during some work, which a person notices as a hang. */
  async longestFrame(work) {
    await this.page.evaluate(() => {
      const seen = { longest: 0, last: performance.now(), on: true };
      globalThis.meanwhileFrames = seen;
      const step = (now) => {
        seen.longest = Math.max(seen.longest, now - seen.last);
        seen.last = now;
        if (seen.on) requestAnimationFrame(step);
      };
      requestAnimationFrame(step);
    });
    await work();
    return this.page.evaluate(() => {
      globalThis.meanwhileFrames.on = false;
      return globalThis.meanwhileFrames.longest;
    });
  }
}

function inside(frame) {
  return frame.frameLocator('iframe#active-frame');
}
