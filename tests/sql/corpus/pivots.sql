PIVOT cities§ ON year USING sum(population)

PIVOT cities§ ON year USING sum(population) GROUP BY country ORDER BY country

PIVOT cities§ ON year USING sum(population) AS total, max(population) AS top GROUP BY country ORDER BY ALL

PIVOT cities§ ON country, name USING sum(population)

PIVOT cities§ ON country || '_' || name USING sum(population) GROUP BY year ORDER BY year

PIVOT cities§ ON year IN (2000, 2020) USING sum(population) GROUP BY country ORDER BY country

PIVOT cities§ ON year USING sum(population) GROUP BY country ORDER BY country LIMIT 1

PIVOT (FROM cities§ WHERE country = 'NL') ON year USING sum(population)

PIVOT cities§ c¶ ON year USING first(population) GROUP BY name ORDER BY name

PIVOT_WIDER cities§ ON year USING sum(population) GROUP BY country ORDER BY country

WITH p AS (PIVOT cities§ ON year USING sum(population)) SELECT * FROM p ORDER BY ALL

SELECT * FROM (PIVOT cities§ ON year USING sum(population) GROUP BY country) ORDER BY country

FROM (PIVOT cities§ ON year USING sum(population) GROUP BY country) a JOIN (PIVOT cities§ ON name USING sum(population) GROUP BY country) b USING (country) ORDER BY country

SELECT * FROM cities§ PIVOT (sum(population) FOR year IN (2000, 2010, 2020) GROUP BY country) ORDER BY country

SELECT * FROM cities§ PIVOT (sum(population) AS total, count(population) AS n FOR year IN (2000, 2010) country IN ('NL', 'US')) ORDER BY ALL

SELECT * FROM cities§ AS c PIVOT (sum(population) FOR year IN (2000, 2010) GROUP BY country) AS p ORDER BY country

FROM cities§ PIVOT (max(population) FOR country IN ('NL', 'US')) SELECT * ORDER BY ALL

UNPIVOT monthly§ ON jan, feb, mar INTO NAME month VALUE sales ORDER BY ALL

UNPIVOT monthly§ m¶ ON COLUMNS(* EXCLUDE (empid, dept)) INTO NAME month VALUE sales ORDER BY ALL

UNPIVOT monthly§ ON jan, feb, mar

UNPIVOT monthly§ ON jan, feb INTO NAME a VALUE b

UNPIVOT monthly§ ON (jan, feb) AS early, (mar, mar) AS late INTO NAME part VALUE x, y

UNPIVOT (SELECT empid, jan + 1 AS jan, feb FROM monthly§) ON jan, feb

PIVOT_LONGER monthly§ ON jan, feb

UNPIVOT (SELECT COLUMNS(*)::VARCHAR FROM monthly§) ON COLUMNS(*)

SELECT * FROM monthly§ UNPIVOT (sales FOR month IN (jan, feb, mar)) ORDER BY ALL

SELECT * FROM monthly§ UNPIVOT INCLUDE NULLS (sales FOR month IN (jan AS first, feb AS second)) ORDER BY ALL

FROM monthly§ UNPIVOT (sales FOR month IN (COLUMNS(* EXCLUDE (empid, dept)))) ORDER BY ALL

WITH u AS (UNPIVOT monthly§ ON jan, feb INTO NAME month VALUE sales) SELECT month, sum(sales) FROM u GROUP BY month ORDER BY month

SELECT month, sum(sales) FROM (UNPIVOT monthly§ ON jan, feb INTO NAME month VALUE sales) GROUP BY ALL ORDER BY ALL

PIVOT (UNPIVOT monthly§ ON jan, feb INTO NAME month VALUE sales) ON month USING sum(sales) GROUP BY dept ORDER BY dept

WITH a AS (FROM cities§ c¶) PIVOT a ON year USING sum(population) GROUP BY country ORDER BY country

WITH a(x, y) AS MATERIALIZED (SELECT country, year FROM cities§) PIVOT a ON y USING count(*) GROUP BY x ORDER BY x

WITH cities AS (SELECT 1 AS a, 2 AS b) PIVOT cities ON a USING sum(b)

WITH a AS (FROM monthly§) UNPIVOT a ON jan, feb INTO NAME month VALUE sales ORDER BY ALL

WITH a AS (PIVOT cities§ ON year USING sum(population) GROUP BY country ORDER BY country LIMIT 1) FROM a

SELECT * FROM (PIVOT cities§ ON year USING sum(population) GROUP BY country ORDER BY country LIMIT 1) p JOIN cities§ USING (country) ORDER BY ALL

SELECT * FROM (UNPIVOT monthly§ ON jan, feb ORDER BY ALL LIMIT 3) u JOIN monthly§ m¶ USING (empid) ORDER BY ALL

(PIVOT cities§ ON year USING sum(population) GROUP BY country) UNION ALL (PIVOT cities§ c¶ ON year USING max(population) GROUP BY country) ORDER BY ALL

PIVOT cities§ ON year USING sum(population) GROUP BY country UNION ALL PIVOT cities§ ON year USING max(population) GROUP BY country

FROM (PIVOT cities§ ON year USING sum(population) GROUP BY country) EXCEPT (FROM (PIVOT cities§ ON year USING max(population) GROUP BY country)) ORDER BY ALL

PIVOT cities§ c¶ JOIN refs§ r¶ ON c.country <> r.sym ON sector USING sum(population) GROUP BY country ORDER BY country

PIVOT monthly§ JOIN tree§ ON monthly.empid = tree.id LEFT JOIN refs§ ON true ON dept USING sum(jan) GROUP BY sym ORDER BY ALL

PIVOT cities§ NATURAL JOIN refs§ ON year USING count(*) GROUP BY country ORDER BY country

PIVOT cities§ CROSS JOIN refs§ ON sector USING count(*) GROUP BY country ORDER BY country

PIVOT cities§ ON year USING coalesce(sum(population), 0) / 2 AS half GROUP BY country ORDER BY country

PIVOT cities§ ON year IN (2000 AS early, 2020 AS late) USING sum(population) GROUP BY country ORDER BY country

PIVOT cities§ ON country IN (SELECT DISTINCT country FROM cities§ WHERE year < 2010 ORDER BY ALL) USING sum(population) GROUP BY year ORDER BY year

PIVOT cities§ USING sum(population) GROUP BY country ORDER BY country

PIVOT cities§ ON year USING sum(population) GROUP BY country ORDER BY country OFFSET 1

SUMMARIZE PIVOT cities§ ON year USING sum(population) GROUP BY country

DESCRIBE UNPIVOT monthly§ ON jan, feb

SELECT country AS pivot, year AS unpivot FROM cities§ ORDER BY ALL

FROM cities§ name¶ PIVOT (sum(population) FOR year IN (2000) GROUP BY country) ORDER BY ALL

SELECT * FROM (FROM cities§) PIVOT (sum(population) FOR year IN (2000, 2010) GROUP BY country) ORDER BY country

CREATE OR REPLACE MACRO pivoted() AS TABLE PIVOT cities§ ON year IN (2000, 2010) USING sum(population) GROUP BY country; FROM pivoted() ORDER BY country

CREATE OR REPLACE VIEW pivoted AS SELECT country AS pivot FROM cities§; FROM pivoted ORDER BY ALL
