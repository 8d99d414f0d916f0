-- A table of 21 types with values that tools trip over, and the same of 20 types with these values taken out.
CREATE TYPE mood AS ENUM ('low', 'fair', 'high', 'très bien');
CREATE TABLE every_type (
    id bigint PRIMARY KEY, small smallint, price numeric(38,10), free numeric, single real, twofold double precision,
    flag boolean, word text, code varchar(20), bytes bytea, day date, clock time, moment timestamp,
    instant timestamptz, span interval, token uuid, document jsonb, words text[], numbers int[], feeling mood,
    address inet
);
INSERT INTO every_type
SELECT i,
    CASE WHEN i % 7 > 0 THEN i % 32000 END,
    CASE WHEN i % 1000 = 1 THEN 9999999999999999999999999999.0123456789
         WHEN i % 19 > 0 THEN (random() * 1e12)::numeric(38,10) END,
    CASE WHEN i % 1000 = 2 THEN 'NaN' WHEN i % 1000 = 3 THEN repeat('1234567890', 6)::numeric + 0.000000000000000000001
         WHEN i % 18 > 0 THEN (random() * 1e9)::numeric(20,6) END,
    CASE WHEN i % 7 > 0 THEN (random() * 1e3)::real END,
    CASE WHEN i % 1000 = 4 THEN 'NaN' WHEN i % 1000 = 5 THEN '-Infinity' WHEN i % 7 > 0 THEN random() * 1e6 END,
    CASE WHEN i % 10 > 0 THEN i % 2 = 0 END,
    CASE WHEN i % 1000 = 6 THEN '' WHEN i % 7 > 0 THEN 'żółć 漢字 😀 ' || i END,
    CASE WHEN i % 6 > 0 THEN 'code-' || i % 100000 END,
    CASE WHEN i % 11 > 0 THEN decode(md5(i::text), 'hex') END,
    CASE WHEN i % 1000 = 7 THEN 'infinity' WHEN i % 1000 = 8 THEN '99999-12-31'
         WHEN i % 16 > 0 THEN date '2000-01-01' + (random() * 9000)::int END,
    CASE WHEN i % 1000 = 9 THEN '24:00:00' WHEN i % 15 > 0 THEN time '00:00' + random() * interval '86399 s' END,
    CASE WHEN i % 1000 = 10 THEN 'infinity' WHEN i % 1000 = 11 THEN '12345-01-01'
         WHEN i % 17 > 0 THEN timestamp '2000-01-01' + random() * interval '800000000 s' END,
    CASE WHEN i % 1000 = 12 THEN '-infinity' WHEN i % 1000 = 13 THEN '0044-03-15 12:00:00+00 BC'
         WHEN i % 17 > 0 THEN timestamptz '2000-01-01 00:00+00' + random() * interval '800000000 s' END,
    CASE WHEN i % 14 > 0 THEN make_interval(i::int % 5, i::int % 13, 0, i::int % 40, 0, 0, random() * 1e5) END,
    CASE WHEN i % 20 > 0 THEN md5(i::text)::uuid END,
    CASE WHEN i % 13 > 0 THEN jsonb_build_object('id', i, 'name', 'naïve ' || i, 'large', 12345678901234567890,
                                                 'tags', jsonb_build_array('a', i % 7, NULL, true)) END,
    CASE WHEN i % 1000 = 14 THEN '{}' WHEN i % 1000 = 15 THEN '{{a,b},{c,d}}'
         WHEN i % 12 > 0 THEN ARRAY['x' || i % 100, NULL, 'quo"te, comma', 'snow ☃'] END,
    CASE WHEN i % 1000 = 16 THEN '[0:1]={7,8}' WHEN i % 12 > 0 THEN ARRAY[i % 10, NULL, i % 99]::int[] END,
    CASE WHEN i % 9 > 0 THEN (enum_range(NULL::mood))[1 + i % 4] END,
    CASE WHEN i % 8 > 0 THEN (CASE WHEN i % 3 = 0 THEN '2001:db8::' || to_hex(i % 65535)
                                   ELSE '10.' || i % 250 || '.0.0/16' END)::inet END
FROM generate_series(1, {rows}) AS i;
CREATE TABLE every_type_tame AS
SELECT id, small, (CASE WHEN price < 1e15 THEN price END)::numeric(38,10) AS price,
    CASE WHEN free < 1e12 THEN free END AS free, single,
    nullif(nullif(twofold, 'NaN'), '-Infinity') AS twofold, flag, word, code, bytes,
    CASE WHEN day < '2200-01-01' THEN day END AS day, nullif(clock, '24:00') AS clock,
    CASE WHEN moment < '2200-01-01' THEN moment END AS moment,
    CASE WHEN instant > '1900-01-01' THEN instant END AS instant, token, document,
    CASE WHEN array_ndims(words) = 1 THEN words END AS words,
    CASE WHEN array_lower(numbers, 1) = 1 THEN numbers END AS numbers, feeling, address
FROM every_type ORDER BY id;
ALTER TABLE every_type_tame ADD PRIMARY KEY (id);
