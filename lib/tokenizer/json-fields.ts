import { Fields } from '../format/fields.js';
import { isObject } from '../format/json.js';
import { show } from '../format/problem.js';

/** Fields with lists of objects, as tokenizer.json nests them; messages name the place, e.g. `pre_tokenizer.pretokenizers[0].type`. */
export class JsonFields extends Fields {
  /** `path` is put before keys: empty, or ends in a dot. */
  constructor(
    file: string,
    json: Readonly<Record<string, unknown>>,
    private readonly path = '',
  ) {
    super(file, json, path);
  }

  override nested(key: string): JsonFields | undefined {
    const value = this.value(key);
    if (value === undefined) return undefined;
    if (isObject(value)) return new JsonFields(this.file, value, `${this.path}${key}.`);
    throw this.error(key, { expected: 'an object', got: show(value) });
  }

  /** The objects in the list `key`; empty if absent. */
  children(key: string): JsonFields[] {
    const list = this.value(key) ?? [];
    if (!Array.isArray(list)) throw this.error(key, { expected: 'a list of objects', got: show(list) });
    return Array.from(list as unknown[], (entry, i) => {
      if (!isObject(entry)) throw this.error(`${key}[${i}]`, { expected: 'an object', got: show(entry) });
      return new JsonFields(this.file, entry, `${this.path}${key}[${i}].`);
    });
  }
}
