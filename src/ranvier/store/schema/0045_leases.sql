-- Which process works on which portion of a queue that several processes share. `fence` grows each time a portion
-- changes hands; a lease counts as long as its holder's row in `processes` does, '' holds nothing.
CREATE TABLE leases (
    name TEXT NOT NULL,
    portion BIGINT NOT NULL,
    holder TEXT NOT NULL,
    fence BIGINT NOT NULL,
    PRIMARY KEY (name, portion)
);

-- Destinations have the position of one of 64 portions now; there were 16.
INSERT INTO sending_positions (share, position)
SELECT s.share + 16 * more.times, s.position FROM sending_positions s
CROSS JOIN (SELECT 1 AS times UNION ALL SELECT 2 UNION ALL SELECT 3) more WHERE s.share < 16;
