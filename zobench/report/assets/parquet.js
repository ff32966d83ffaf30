// A table as an Apache Parquet file: one row group, one plain uncompressed page per column, numbers as DOUBLE and
// texts as UTF-8 BYTE_ARRAY, every column optional. The footer is Thrift's compact protocol.
class Bytes {
  constructor() { this.parts = []; this.length = 0; }
  add(part) {
    const bytes = part instanceof Bytes ? part.joined() : Uint8Array.from(part);
    this.parts.push(bytes);
    this.length += bytes.length;
    return this;
  }
  int32(value) { return this.add([value & 255, (value >> 8) & 255, (value >> 16) & 255, (value >> 24) & 255]); }
  joined() {
    const all = new Uint8Array(this.length);
    let at = 0;
    for (const part of this.parts) { all.set(part, at); at += part.length; }
    return all;
  }
}

function varint(value) {
  const out = [];
  for (; value > 127; value = Math.floor(value / 128)) out.push((value % 128) + 128);
  return [...out, value];
}

// Thrift compact: a struct is a list of [field id, type, value]; integers are zigzag varints
const T = { i32: 5, i64: 6, text: 8, list: 9, struct: 12 };

function thrift(fields) {
  const out = new Bytes();
  let last = 0;
  for (const [id, type, value] of fields) {
    out.add([((id - last) << 4) | type]).add(thriftValue(type, value));
    last = id;
  }
  return out.add([0]);
}

function thriftValue(type, value) {
  if (type === T.i32 || type === T.i64) return varint(value * 2);
  if (type === T.struct) return thrift(value);
  if (type === T.text) {
    const text = new TextEncoder().encode(value);
    return new Bytes().add(varint(text.length)).add(text);
  }
  const [inner, items] = value;
  const out = new Bytes().add(items.length < 15 ? [(items.length << 4) | inner] : [240 | inner, ...varint(items.length)]);
  for (const item of items) out.add(thriftValue(inner, item));
  return out;
}

function plainValues(values, numeric) {
  const out = new Bytes();
  for (const value of values) {
    if (value === null) continue;
    if (numeric) out.add(new Uint8Array(new Float64Array([value]).buffer));
    else {
      const text = new TextEncoder().encode(value);
      out.int32(text.length).add(text);
    }
  }
  return out;
}

// definition levels: one bit per row, as one bit-packed run of the hybrid encoding
function levels(values) {
  const groups = Math.ceil(values.length / 8), bits = new Uint8Array(groups);
  values.forEach((v, i) => { if (v !== null) bits[i >> 3] |= 1 << (i & 7); });
  const run = new Bytes().add(varint(groups * 2 + 1)).add(bits);
  return new Bytes().int32(run.length).add(run);
}

function parquetOf(columns) {
  const file = new Bytes().add(new TextEncoder().encode("PAR1"));
  const rows = columns.length ? columns[0].values.length : 0;
  const chunks = columns.map(({ name, values, numeric }) => {
    const body = new Bytes().add(levels(values)).add(plainValues(values, numeric));
    const header = thrift([[1, T.i32, 0], [2, T.i32, body.length], [3, T.i32, body.length], [5, T.struct, [[1, T.i32, rows], [2, T.i32, 0], [3, T.i32, 3], [4, T.i32, 3]]]]);
    const start = file.length, size = header.length + body.length;
    file.add(header).add(body);
    return [[2, T.i64, start], [3, T.struct, [[1, T.i32, numeric ? 5 : 6], [2, T.list, [T.i32, [0, 3]]], [3, T.list, [T.text, [name]]], [4, T.i32, 0],
      [5, T.i64, rows], [6, T.i64, size], [7, T.i64, size], [9, T.i64, start]]]];
  });
  const leaves = columns.map(({ name, numeric }) => [[1, T.i32, numeric ? 5 : 6], [3, T.i32, 1], [4, T.text, name], ...(numeric ? [] : [[6, T.i32, 0]])]);
  const total = file.length - 4;
  const footer = thrift([[1, T.i32, 1], [2, T.list, [T.struct, [[[4, T.text, "table"], [5, T.i32, columns.length]], ...leaves]]], [3, T.i64, rows],
    [4, T.list, [T.struct, rows ? [[[1, T.list, [T.struct, chunks]], [2, T.i64, total], [3, T.i64, rows]]] : []]], [6, T.text, "zobench page"]]);
  return file.add(footer).int32(footer.length).add(new TextEncoder().encode("PAR1")).joined();
}
