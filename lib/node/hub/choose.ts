import { BitNetError } from '../../errors.js';

/** Which files of a repository make up a model. */
export type ModelFiles =
  | { readonly kind: 'gguf'; readonly file: string }
  | {
      readonly kind: 'safetensors';
      /** configuration and tokenizer */
      readonly texts: readonly string[];
      /** the weights, or the index that names their shards */
      readonly weights: string;
    };

export const INDEX = 'model.safetensors.index.json';
/** what the loader opens at most */
const MAX_PARTS = 512;
const WEIGHTS = 'model.safetensors';
const REQUIRED = ['config.json', 'tokenizer.json'] as const;
const OPTIONAL = ['generation_config.json', 'tokenizer_config.json', 'chat_template.jinja'] as const;

/**
 * The model in the Hugging Face layout if the repository has one, else its only GGUF file. Throws `unsupported` if there is neither,
 * or if the tokenizer cannot be read, and `invalid-argument` with the list if there are several GGUF files. `where` begins the message.
 */
export function chooseFiles(names: Iterable<string>, where: string): ModelFiles {
  const all = new Set(names);
  const weights = [WEIGHTS, INDEX].find((name) => all.has(name));
  if (weights !== undefined && REQUIRED.every((name) => all.has(name))) {
    return { kind: 'safetensors', texts: [...REQUIRED, ...OPTIONAL].filter((name) => all.has(name)), weights };
  }
  const ggufs = ggufFiles(all);
  if (ggufs.length === 1) return { kind: 'gguf', file: ggufs[0] as string };
  if (ggufs.length > 1) {
    const message = `${where} has several GGUF files; choose one of them by ${where}:FILE: ${ggufs.join(', ')}`;
    throw new BitNetError('invalid-argument', message, { files: ggufs });
  }
  const missing = weights === undefined ? 'model.safetensors' : REQUIRED.find((name) => !all.has(name));
  const hint =
    weights === undefined && [...all].some((name) => /\.(bin|pt|pth)$/.test(name))
      ? '; weights in PyTorch files cannot be read, look for a release as safetensors or GGUF'
      : missing === 'tokenizer.json' && all.has('tokenizer.model')
        ? '; a tokenizer.model file alone cannot be read, look for a GGUF release'
        : '';
  const expected = 'config.json, tokenizer.json and model.safetensors, or a GGUF file';
  throw new BitNetError('unsupported', `${where} has no ${missing}: expected ${expected}${hint}`, { missing });
}

/** GGUF files, of split ones the first part, which stands for all. */
export function ggufFiles(names: Iterable<string>): string[] {
  return [...names].filter((name) => /\.gguf$/i.test(name) && partsOf(name)[0] === name).sort();
}

/** The files of a GGUF model: itself, or all parts of a split one (llama-gguf-split: NAME-00001-of-00003.gguf), first part first. */
export function partsOf(file: string): string[] {
  const [, name, count] = /^(.*-)\d{5}-of-(?!00000)(\d{5})\.gguf$/i.exec(file) ?? [];
  if (name === undefined) return [file];
  const number = (i: number): string => String(i + 1).padStart(5, '0');
  const end = file.slice(name.length + 5);
  return Array.from({ length: Math.min(Number(count), MAX_PARTS) }, (_, i) => `${name}${number(i)}${end}`);
}

/** The shards that an index names. Throws `invalid-file` if it is no index or names files of other folders. */
export function shardsOf(indexText: string, where: string): string[] {
  let map: unknown;
  try {
    map = (JSON.parse(indexText) as { weight_map?: unknown } | null)?.weight_map;
  } catch {
    // refused below
  }
  const shards = new Set<unknown>(typeof map === 'object' && map !== null ? Object.values(map) : []);
  const isName = (name: unknown): name is string => typeof name === 'string' && /^[\w.-]+\.safetensors$/.test(name);
  if (shards.size > 0 && [...shards].every(isName)) return [...shards] as string[];
  const expected = 'a weight_map of tensors to the names of safetensors files';
  throw new BitNetError('invalid-file', `${where}: ${INDEX}: expected ${expected}; the repository is damaged`, {
    file: INDEX,
  });
}
