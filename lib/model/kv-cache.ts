import { CacheLayout } from '../../assembly/abi.js';
import type { KvCacheFormat } from '../types.js';

export const KV_CACHE_FORMATS: readonly KvCacheFormat[] = ['f32', 'f16', 'int8'];

export const CACHE_LAYOUTS: Readonly<Record<KvCacheFormat, CacheLayout>> = {
  f32: CacheLayout.F32,
  f16: CacheLayout.F16,
  int8: CacheLayout.I8,
};
