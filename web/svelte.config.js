// Read by svelte-check too. Runes everywhere; styles go to files, because the page's content security policy allows no inline style.
export default {
  compilerOptions: { runes: true, css: 'external' },
};
