-- A session that names a managed policy by its ARN may do nothing once that policy is gone.
CREATE TRIGGER iam_policies_d AFTER DELETE ON iam_policies BEGIN UPDATE iam_change SET number = number + 1; END;
