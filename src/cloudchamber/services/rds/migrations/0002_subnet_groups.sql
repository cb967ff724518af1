-- DB subnet groups: where in which VPC a DB instance may be. `subnets` is JSON: subnet id -> zone.
CREATE TABLE rds_subnet_groups (
  account TEXT NOT NULL,
  region TEXT NOT NULL,
  name TEXT NOT NULL,
  description TEXT NOT NULL,
  vpc_id TEXT NOT NULL,
  subnets TEXT NOT NULL,
  PRIMARY KEY (account, region, name)
);
