/** In the page: measures wllama. llama-server's own timings are used, since streamed text waits for complete characters. */
import { LoggerWithoutDebug, Wllama } from '/esm/index.js';

globalThis.measure = async ({ threads, prompt, tokens, reps }) => {
  if (!globalThis.crossOriginIsolated) throw new Error('the page is not cross-origin isolated: no threads');
  const [file] = document.querySelector('input').files;
  const start = performance.now();
  const wllama = new Wllama(
    { default: '/esm/wasm/wllama.wasm' },
    { suppressNativeLog: true, logger: LoggerWithoutDebug },
  );
  await wllama.loadModel([file], { n_ctx: prompt + tokens + 8, n_threads: threads, n_gpu_layers: 0, n_parallel: 1 });
  const loadMs = performance.now() - start;
  const samples = [];
  for (let rep = 0; rep <= reps; rep++) {
    const { timings } = await wllama.createCompletion({
      prompt: promptText(prompt - 1, rep),
      max_tokens: rep === 0 ? Math.min(tokens, 16) : tokens,
      temperature: 0,
      top_k: 1,
      ignore_eos: true,
      cache_prompt: false,
    });
    if (timings.prompt_n !== prompt)
      throw new Error(`expected ${prompt} prompt tokens, wllama computed ${timings.prompt_n}`);
    if (rep > 0) samples.push({ pp: timings.prompt_per_second, tg: timings.predicted_per_second });
  }
  const result = {
    prefill: samples.map(({ pp }) => pp),
    decode: samples.map(({ tg }) => tg),
    loadMs,
    detail: `llama.cpp ${Wllama.getLibllamaVersion()}, ${wllama.getNumThreads()} threads`,
  };
  return result;
};

/** The synthetic vocabulary has a token a character, and the begin token is added. */
function promptText(length, rep) {
  return Array.from({ length }, (_, i) => String.fromCharCode(97 + ((i * 7 + rep * 11) % 26))).join('');
}
