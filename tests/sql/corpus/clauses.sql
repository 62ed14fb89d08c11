FROM trades§

FROM trades§ SELECT id

FROM trades§ t¶ SELECT t.id WHERE t.id > 1 ORDER BY id

FROM trades§ WHERE id > 1 ORDER BY id LIMIT 2

FROM trades§ LIMIT 2 OFFSET 1

FROM trades§ SELECT DISTINCT sym ORDER BY sym

FROM trades§ SELECT sym, count(*) AS n GROUP BY sym HAVING n > 1 ORDER BY sym

TABLE trades§

TABLE trades§ ORDER BY id LIMIT 1

SELECT trades FROM trades§ ORDER BY id

SELECT t FROM trades§ t¶ ORDER BY id

SELECT trades.id, trades.sym FROM trades§ ORDER BY 1

SELECT trades.* FROM trades§ ORDER BY id

SELECT trades.* EXCLUDE (tags, info) FROM trades§ ORDER BY id

SELECT TRADES.ID FROM Trades§ ORDER BY 1

SELECT * EXCLUDE ts FROM trades§ ORDER BY id

SELECT * EXCLUDE (ts, tags) FROM trades§ ORDER BY id

SELECT * REPLACE (price / 2 AS price) FROM trades§ ORDER BY id

SELECT * RENAME (price AS cost, id AS number) FROM trades§ ORDER BY number

SELECT * EXCLUDE (tags) REPLACE (upper(sym) AS sym) RENAME (id AS n) FROM trades§ ORDER BY n

SELECT * LIKE 'p%' FROM trades§ ORDER BY ALL

SELECT * GLOB 'p*' FROM trades§ ORDER BY ALL

SELECT * SIMILAR TO '.*d' FROM trades§ ORDER BY ALL

SELECT * NOT LIKE 't%' FROM trades§ ORDER BY ALL

SELECT COLUMNS('^(id|price)$') FROM trades§ ORDER BY ALL

SELECT COLUMNS(* EXCLUDE (tags, info, ts, sym, side)) + 1 FROM trades§ ORDER BY ALL

SELECT COLUMNS(lambda c: c LIKE '%i%') FROM trades§ ORDER BY id

SELECT COLUMNS(lambda c: c LIKE '%y%') FROM trades§ ORDER BY ALL

SELECT COLUMNS(['id', 'sym']) FROM trades§ ORDER BY id

SELECT max(COLUMNS(* EXCLUDE (tags, info))) FROM trades§

SELECT COLUMNS('(p)r(ice)') AS '\1\2' FROM trades§ ORDER BY ALL

SELECT coalesce(*COLUMNS(['sym', 'side'])) AS either FROM trades§ ORDER BY ALL

SELECT struct_pack(*COLUMNS(['id', 'sym'])) AS s FROM trades§ ORDER BY ALL

SELECT id FROM trades§ WHERE COLUMNS(['id', 'qty']) > 2 ORDER BY id

SELECT count(*) FROM trades§

SELECT count() FROM trades§

SELECT sym, sum(qty) FROM trades§ GROUP BY ALL ORDER BY ALL

SELECT sym, side, sum(qty) AS q FROM trades§ GROUP BY GROUPING SETS ((sym, side), (sym), ()) ORDER BY ALL

SELECT sym, side, sum(qty), grouping(sym, side), GROUPING_ID(sym) FROM trades§ GROUP BY CUBE (sym, side) ORDER BY ALL

SELECT sym, side, sum(qty) FROM trades§ GROUP BY ROLLUP (sym, side) ORDER BY ALL

SELECT sym, side, count(*) FROM trades§ GROUP BY sym, ROLLUP (side) ORDER BY ALL

SELECT id % 2 AS odd, count(*) FROM trades§ GROUP BY odd ORDER BY odd

SELECT id % 2 AS odd, odd + 1 AS more FROM trades§ WHERE more > 1 ORDER BY ALL

SELECT price * qty AS amount, amount / 2 AS half, half > 10 AS big FROM trades§ ORDER BY ALL

SELECT * FROM trades§ ORDER BY ALL DESC

SELECT id, sym FROM trades§ ORDER BY ALL DESC NULLS LAST

SELECT id FROM trades§ ORDER BY sym DESC NULLS FIRST, id ASC

SELECT id FROM trades§ ORDER BY sym COLLATE NOCASE, 1

SELECT DISTINCT ON (sym) sym, id FROM trades§ ORDER BY sym, id DESC

SELECT DISTINCT ON (sym, side) * FROM trades§ ORDER BY sym, side, id

SELECT DISTINCT sym FROM trades§ ORDER BY sym

SELECT ALL sym FROM trades§ ORDER BY sym

SELECT id FROM trades§ ORDER BY id LIMIT 50%

SELECT id FROM trades§ ORDER BY id LIMIT 40 PERCENT

SELECT id FROM trades§ ORDER BY id LIMIT ALL

SELECT id FROM trades§ ORDER BY id OFFSET 2

SELECT id FROM trades§ ORDER BY id OFFSET 1 ROWS FETCH FIRST 2 ROWS ONLY

SELECT id FROM trades§ ORDER BY id FETCH NEXT ROW ONLY

SELECT id FROM trades§ QUALIFY row_number() OVER (PARTITION BY sym ORDER BY id) = 1 ORDER BY id

FROM trades§ QUALIFY rank() OVER (ORDER BY price DESC) <= 2 ORDER BY id

SELECT id, row_number() OVER w AS n, sum(qty) OVER w AS total FROM trades§ WINDOW w AS (PARTITION BY sym ORDER BY id) ORDER BY id

SELECT id, sum(qty) OVER w1, avg(price) OVER w2 FROM trades§ WINDOW w1 AS (ORDER BY id), w2 AS (w1 ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) ORDER BY id

SELECT id, sum(qty) OVER (ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 FOLLOWING EXCLUDE CURRENT ROW) AS s FROM trades§ ORDER BY id

SELECT id, sum(qty) OVER (ORDER BY id ROWS 1 PRECEDING EXCLUDE NO OTHERS) AS s FROM trades§ ORDER BY id

SELECT id, count(*) OVER (ORDER BY side GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW EXCLUDE TIES) AS n FROM trades§ ORDER BY ALL

SELECT id, count(*) OVER (ORDER BY ts RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW EXCLUDE GROUP) AS n FROM trades§ ORDER BY ALL

SELECT id, first_value(price IGNORE NULLS) OVER (PARTITION BY sym ORDER BY id) AS f, lag(price, 1, 0.0) OVER (ORDER BY id) AS l FROM trades§ ORDER BY id

SELECT id, list(id) FILTER (WHERE qty > 2) OVER (ORDER BY id) AS l FROM trades§ ORDER BY id

SELECT id, first_value(price ORDER BY qty) OVER (ORDER BY id) AS f FROM trades§ ORDER BY id

SELECT id, ntile(2) OVER (ORDER BY id), cume_dist() OVER (ORDER BY id), nth_value(sym, 2) OVER (ORDER BY id) FROM trades§ ORDER BY id

SELECT sum(qty) FILTER (WHERE side = 'buy') AS bought, sum(qty) FILTER (side = 'sell') AS sold FROM trades§

SELECT string_agg(sym, ',' ORDER BY id) FROM trades§

SELECT list(DISTINCT sym ORDER BY sym) FROM trades§

SELECT quantile_cont(price, [0.25, 0.5]), percentile_cont(0.5) WITHIN GROUP (ORDER BY price), mode() WITHIN GROUP (ORDER BY side) FROM trades§

SELECT arg_max(sym, price), max(price, 2), min_by(sym, price) FROM trades§

SELECT count(*) FROM (FROM trades§ USING SAMPLE 3)

SELECT count(*) FROM (FROM trades§ USING SAMPLE 3 ROWS)

SELECT count(*) FROM (FROM trades§ USING SAMPLE 100%)

SELECT count(*) FROM (SELECT * FROM trades§ USING SAMPLE 100 PERCENT (bernoulli))

SELECT count(*) FROM (SELECT * FROM trades§ USING SAMPLE reservoir(2 ROWS) REPEATABLE (42))

SELECT count(*) FROM trades§ TABLESAMPLE reservoir(3)

SELECT count(*) FROM trades§ TABLESAMPLE 100%

SELECT count(*) FROM trades§ t¶ TABLESAMPLE reservoir(100%)

SELECT count(*) FROM trades§ TABLESAMPLE bernoulli(100 PERCENT) REPEATABLE (7)

SELECT count(*) FROM trades§ t TABLESAMPLE (2 ROWS), refs§ r

SELECT id FROM trades§ WHERE sym LIKE 'a%' OR sym ILIKE 'B%' OR sym SIMILAR TO 'c.*' OR sym GLOB '?d' ORDER BY id

SELECT id FROM trades§ WHERE sym ^@ 'a' ORDER BY id

SELECT id FROM trades§ WHERE price BETWEEN 10 AND 20 AND id NOT BETWEEN 1 AND 2 ORDER BY id

SELECT id FROM trades§ WHERE price IS NULL OR side IS DISTINCT FROM 'buy' ORDER BY id

SELECT id FROM trades§ WHERE price ISNULL ORDER BY id

SELECT id FROM trades§ WHERE price NOTNULL ORDER BY id

SELECT id FROM trades§ WHERE (id, sym) = (1, 'a')

SELECT id FROM trades§ WHERE sym IN ('a', 'b') AND sym NOT IN ('b') ORDER BY id

SELECT id FROM trades§ WHERE sym IN ['a', 'c'] ORDER BY id

SELECT id, CASE side WHEN 'buy' THEN 1 WHEN 'sell' THEN -1 END AS sign FROM trades§ ORDER BY id

SELECT id, if(id > 2, 'big', 'small') AS s, nullif(id, 2), ifnull(price, 0) FROM trades§ ORDER BY id

SELECT id::VARCHAR || '!' AS x, CAST(price AS INTEGER), TRY_CAST(sym AS INTEGER) FROM trades§ ORDER BY ALL

SELECT id, price ** 2, qty // 2, qty % 2, -id, +id, ~qty::INT, @(-id) FROM trades§ ORDER BY id

SELECT id & 1, id | 4, id << 1, id >> 1, xor(id, 3) FROM trades§ ORDER BY ALL

SELECT first: id, second: price * 2 FROM trades§ ORDER BY first

SELECT n: count(*) FROM t: trades§

SELECT id AS "the id", sym AS 'the sym', price amount FROM trades§ ORDER BY 1

SELECT id, sym FROM trades§ ORDER BY #1

SELECT count(*), any_value(year(ts)), min(date_trunc('day', ts)), max(ts AT TIME ZONE 'UTC') FROM trades§

SELECT extract('hour' FROM ts), extract(YEAR FROM ts), date_part('day', ts) FROM trades§ ORDER BY id

SELECT ts + INTERVAL 1 DAY, ts - INTERVAL '2 hours', age(ts, ts), ts::DATE FROM trades§ ORDER BY id

SELECT substring(sym FROM 1 FOR 1), position('a' IN sym), trim(BOTH 'a' FROM sym) FROM trades§ ORDER BY id
