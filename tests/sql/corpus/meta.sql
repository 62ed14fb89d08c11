DESCRIBE trades§

DESC trades§

DESCRIBE TABLE trades§

DESCRIBE FROM trades§

DESCRIBE (SELECT id FROM trades§)

SHOW trades§

SHOW TABLE trades§

SELECT column_name FROM (DESCRIBE trades§)

SELECT column_name FROM (DESCRIBE SELECT id, price * 2 AS twice FROM trades§)

FROM (SHOW trades§)

SUMMARIZE trades§

SUMMARIZE SELECT id, price FROM trades§

SUMMARIZE FROM trades§

SUMMARIZE TABLE trades§

SELECT column_name, count, null_percentage FROM (SUMMARIZE trades§)

FROM (SUMMARIZE FROM trades§ SELECT id) SELECT column_name, max

-- compare: shape
EXPLAIN SELECT id FROM trades§

-- compare: shape
EXPLAIN FROM trades§ t¶

-- compare: shape
EXPLAIN ANALYZE SELECT id FROM trades§ WHERE id > 2

-- compare: shape
EXPLAIN (FORMAT json) SELECT id FROM trades§

-- compare: shape
EXPLAIN (ANALYZE, FORMAT json) SELECT id FROM trades§

-- compare: shape
EXPLAIN (ANALYZE) FROM trades§

-- compare: shape
EXPLAIN ANALYZE TABLE trades§

-- compare: shape
EXPLAIN PIVOT cities§ ON year IN (2000) USING sum(population)

-- compare: shape
EXPLAIN WITH a AS (FROM trades§) FROM a

-- compare: shape
EXPLAIN COPY trades§ TO '{folder}/explained.csv'

COPY trades§ TO '{folder}/a.parquet'; FROM '{folder}/a.parquet' ORDER BY id

COPY (SELECT id, sym FROM trades§ ORDER BY id) TO '{folder}/b.csv' (HEADER, DELIMITER '|'); FROM read_csv('{folder}/b.csv', delim = '|')

COPY (FROM trades§ t¶ WHERE id < 3) TO '{folder}/c.json' (FORMAT json); SELECT id, sym FROM '{folder}/c.json' ORDER BY id

COPY refs§ TO '{folder}/d.csv' WITH (FORMAT csv, HEADER true, QUOTE '"'); FROM '{folder}/d.csv' ORDER BY ALL

COPY (SELECT sym, id, price FROM trades§) TO '{folder}/parts' (FORMAT parquet, PARTITION_BY (sym), OVERWRITE_OR_IGNORE); SELECT count(*), sum(price) FROM '{folder}/parts/*/*.parquet'

COPY (PIVOT cities§ ON year USING sum(population)) TO '{folder}/e.parquet'; FROM '{folder}/e.parquet' ORDER BY ALL

COPY (WITH a AS (FROM refs§) FROM a) TO '{folder}/f.parquet' (FORMAT parquet, COMPRESSION zstd); FROM '{folder}/f.parquet' ORDER BY ALL

CREATE OR REPLACE TEMP TABLE kept AS SELECT * FROM trades§ WHERE id < 4; FROM kept ORDER BY id

CREATE OR REPLACE TEMPORARY TABLE kept AS FROM trades§ t¶; SELECT count(*) FROM kept

CREATE OR REPLACE TEMP TABLE kept(a, b) AS SELECT id, sym FROM trades§; FROM kept ORDER BY a

CREATE OR REPLACE TEMP TABLE kept AS TABLE refs§; FROM kept ORDER BY ALL

CREATE OR REPLACE TEMP TABLE kept AS FROM refs§ WITH NO DATA; FROM kept

CREATE OR REPLACE TEMP TABLE kept AS PIVOT cities§ ON year USING sum(population); FROM kept ORDER BY ALL

CREATE OR REPLACE TEMP TABLE kept AS WITH a AS (FROM refs§) SELECT * FROM a; FROM kept ORDER BY ALL

SET VARIABLE top = (SELECT max(id) FROM trades§); SELECT getvariable('top') AS top

PREPARE q AS SELECT $1 + 1; EXECUTE q(41); DEALLOCATE q; SELECT count(*) FROM trades§

CREATE OR REPLACE MACRO whole() AS TABLE TABLE refs§; FROM whole() ORDER BY ALL

CREATE TEMP TYPE syms AS ENUM (SELECT DISTINCT sym FROM trades§ WHERE sym IS NOT NULL ORDER BY sym); SELECT enum_range(NULL::syms) AS known; DROP TYPE syms; SELECT 'done' AS state

CREATE TEMPORARY TYPE named AS ENUM (FROM refs§ r¶ SELECT name ORDER BY name DESC); CREATE OR REPLACE TEMP TABLE kept AS SELECT enum_code(name::named) AS code FROM refs§; DROP TYPE named; FROM kept ORDER BY ALL

PRAGMA table_info('trades')

PRAGMA table_info(refs)

CALL pragma_table_info('main.tree')

CREATE OR REPLACE TEMP TABLE kept(a INTEGER PRIMARY KEY, b VARCHAR DEFAULT 'x' NOT NULL, "c d" DATE UNIQUE); PRAGMA table_info("kept")
