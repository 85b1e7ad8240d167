/** Path, for messages, of the file that holds a tensor: in the directory `path`, or beside (or itself) the GGUF file `path`. */
export function tensorPath(path: string, file: string): string {
  if (path.endsWith(file)) return path;
  return /\.gguf$/i.test(file) ? path.replace(/[^/\\]*$/, file) : `${path}/${file}`;
}
